/** What has failed, by file and title, and why, as the runners' JSON reports have it. */
import { relative } from "node:path";
import { stripVTControlCharacters } from "node:util";

/** The lines of a message that say what was expected and what came, in one, without the code around it and its stack. */
function reasonIn(message) {
  const lines = stripVTControlCharacters(message ?? "").split("\n");
  const stack = lines.findIndex((line) => /^\s+at |^[> ]*\d+ \|/.test(line));
  const said = (stack < 0 ? lines : lines.slice(0, stack)).map((line) => line.trim()).filter(Boolean);
  return said.join(" | ").slice(0, 600);
}

/** Of a report of vitest's: its failed tests, and the files that failed as a whole. */
export function failuresOfVitest({ testResults }, root) {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(root, name);
    const tests = assertionResults
      .filter((one) => one.status === "failed")
      .map(({ fullName, failureMessages = [] }) => `${file} › ${fullName}: ${reasonIn(failureMessages[0])}`);
    return tests.length > 0 || status !== "failed" ? tests : [`${file}: ${reasonIn(message)}`];
  });
}

/** Of a report of Playwright's: its failed tests, and what failed outside of any. */
export function failuresOfPlaywright({ suites, errors }) {
  const testsOf = ({ specs, suites: inner = [] }) => [...specs, ...inner.flatMap(testsOf)];
  const failed = suites.flatMap(testsOf).flatMap(({ file, title, tests }) => {
    const unexpected = tests.find(({ status }) => status === "unexpected");
    if (!unexpected) return [];
    const [error] = unexpected.results.flatMap(({ errors }) => errors);
    return [`${file} › ${title}: ${reasonIn(error?.message)}`];
  });
  return [...failed, ...errors.map(({ message }) => reasonIn(message))];
}
