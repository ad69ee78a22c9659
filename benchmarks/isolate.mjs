/** workerd's inspector: what the edge's isolate, in which all of its Durable Objects are, holds and does. */

/** Asks the inspector at a port; an answer comes as what its method gives. */
export async function inspect(port) {
  const targets = await (await fetch(`http://127.0.0.1:${port}/json`)).json();
  const { webSocketDebuggerUrl } = targets.find(({ id }) => id.startsWith("core:user:"));
  const socket = new WebSocket(webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("workerd's inspector does not answer."));
  });
  const waiting = new Map();
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(data);
    waiting.get(id)?.(result ?? {});
    waiting.delete(id);
  };
  let last = 0;
  return {
    ask(method, params = {}) {
      return new Promise((resolve) => {
        waiting.set(++last, resolve);
        socket.send(JSON.stringify({ id: last, method, params }));
      });
    },
    close: () => socket.close(),
  };
}

/** Profiles the isolate until the function that it gives is called: what takes its time, in percent, most first, and the whole profile. */
export async function profile(port) {
  const inspector = await inspect(port);
  await inspector.ask("Profiler.enable");
  await inspector.ask("Profiler.setSamplingInterval", { interval: 200 });
  await inspector.ask("Profiler.start");
  return async () => {
    const { profile: all } = await inspector.ask("Profiler.stop");
    inspector.close();
    const times = new Map();
    let total = 0;
    const nodes = new Map(all.nodes.map((node) => [node.id, node.callFrame]));
    all.samples.forEach((id, i) => {
      const { functionName, url, lineNumber } = nodes.get(id);
      if (functionName === "(idle)") return;
      const name = `${functionName || "(anonymous)"} ${url.split("/").at(-1)}:${lineNumber + 1}`;
      const time = all.timeDeltas[i];
      total += time;
      times.set(name, (times.get(name) ?? 0) + time);
    });
    const top = [...times].toSorted(([, a], [, b]) => b - a);
    return { milliseconds: total / 1e3, top: top.map(([name, time]) => [name, (100 * time) / total]), all };
  };
}
