/** What has failed, by file and title, as the runners' JSON reports have it. */
import { relative } from "node:path";

const firstLine = (text) => (text ?? "").trim().split("\n")[0].slice(0, 200);

/** Of a report of vitest's: its failed tests, and the files that failed as a whole. */
export function failuresOfVitest({ testResults }, root) {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(root, name);
    const tests = assertionResults.filter((one) => one.status === "failed").map((one) => `${file} › ${one.fullName}`);
    return tests.length > 0 || status !== "failed" ? tests : [`${file} › ${firstLine(message)}`];
  });
}

/** Of a report of Playwright's: its failed tests, and what failed outside of any. */
export function failuresOfPlaywright({ suites, errors }) {
  const testsOf = ({ specs, suites: inner = [] }) => [...specs, ...inner.flatMap(testsOf)];
  const tests = suites.flatMap(testsOf).filter(({ tests }) => tests.some(({ status }) => status === "unexpected"));
  return [...tests.map(({ file, title }) => `${file} › ${title}`), ...errors.map(({ message }) => firstLine(message))];
}
