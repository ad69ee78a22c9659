/** Where the browser is: the path and query of the address, and the one door to changing them. */
let path = $state(location.pathname);
let search = $state(location.search);

function read(): void {
  path = location.pathname;
  search = location.search;
}

addEventListener("popstate", read);

export const address = {
  get path(): string {
    return path;
  },

  /** With its question mark; empty where there is none. */
  get search(): string {
    return search;
  },

  /** Goes to an address of this app without loading it anew: Back leads to where one was. */
  go(href: string): void {
    history.pushState(null, "", href);
    read();
  },
};
