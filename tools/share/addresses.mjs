/** The addresses of this machine that a phone in the same network may reach. */
import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";

/** Networks between this machine and its own containers and virtual machines: no phone is in them. */
const INSIDE =
  /^(docker|br-|veth|virbr|vmnet|vboxnet|vnet|lxc|lxdbr|cni|cali|flannel|podman|ifb|dummy|utun|awdl|llw|bridge\d)/;

/** Addresses that stand for an interface and not for a machine: a browser takes none with an interface in it. */
const isLinkLocal = (address) => /^(fe[89ab]|169\.254\.)/i.test(address);

/**
 * All addresses but loopback's, those first that a phone most likely reaches: where other machines are reached from, then IPv4.
 * @param interfaces as `os.networkInterfaces` gives them
 * @param {string} [preferred] the address that this machine speaks to others from
 * @returns {{ address: string, isInside: boolean }[]}
 */
export function addressesOf(interfaces, preferred) {
  const all = Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    addresses
      .filter(({ internal, address }) => !internal && !isLinkLocal(address))
      .map(({ address, family }) => ({ address, family, isInside: INSIDE.test(name) })),
  );
  const rank = ({ address, family }) => (address === preferred ? 0 : family === "IPv4" ? 1 : 2);
  return all.sort((a, b) => rank(a) - rank(b)).map(({ address, isInside }) => ({ address, isInside }));
}

/** The addresses of now. */
export async function presentAddresses() {
  return addressesOf(networkInterfaces(), await outwardAddress());
}

/** The address that packets to other networks would leave from; undefined without such a route. Nothing is sent. */
function outwardAddress() {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    const done = (address) => {
      socket.close();
      resolve(address);
    };
    socket.once("error", () => done(undefined));
    // An address of nobody (RFC 5737): to connect a datagram socket only chooses a route.
    socket.connect(9, "203.0.113.1", () => done(socket.address().address));
  });
}

/** An origin at an address. */
export const originOf = (address, port) =>
  `https://${address.includes(":") ? `[${address}]` : address}${port === 443 ? "" : `:${port}`}`;
