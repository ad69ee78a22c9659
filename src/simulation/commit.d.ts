/** The git commit that the page was built from: see vite.config.ts. */
declare const __COMMIT__: string | null;
