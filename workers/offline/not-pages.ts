/**
 * Addresses that the server alone answers, also where somebody goes there as to a page: the interface, and the certificate of a shared
 * server's authority (tools/share/front.mjs).
 */
export const NOT_PAGES = [/^\/api\//, /^\/authority\.crt$/];
