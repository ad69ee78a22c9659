/** Requests of who drives a measurement. */
import { request } from "node:http";

/** There was no answer in time. */
export class UnansweredError extends Error {
  name = "UnansweredError";
}

/**
 * Asks over a connection of its own, so that no other request, and no server that closes idle connections, has a part in what comes out.
 * @returns the answer's status and text
 * @throws UnansweredError that names the request, where its whole answer takes longer than so many milliseconds
 */
export function ask(url, { method = "GET", headers = {}, body, within }) {
  return new Promise((resolve, reject) => {
    const call = request(url, { method, headers, agent: false });
    const late = setTimeout(() => {
      reject(new UnansweredError(`${method} ${url} was not answered within ${within / 1000} seconds.`));
      call.destroy();
    }, within);
    call.once("response", async (response) => {
      try {
        let text = "";
        response.setEncoding("utf8");
        for await (const part of response) text += part;
        resolve({ status: response.statusCode, text });
      } catch (error) {
        reject(error);
      }
    });
    call.on("error", (error) => reject(new Error(`${method} ${url}: ${error.message}`, { cause: error })));
    call.once("close", () => clearTimeout(late));
    call.end(body);
  });
}
