/**
 * What a column is called that says whose an example is: as FEMNIST (`writer_id`), LEAF (`user_id`; Caldas et al. 2018, arXiv 1812.01097)
 * and collections of faces have it.
 */
const USUAL =
  /^(?:client|user|writer|person|subject|participant|speaker|actor|celeb)(?:[_.-]?(?:id|name|no|nr|number))?$/;

/**
 * Which column says whose an example is.
 * @param names of the columns, in lower case and without spaces
 * @param said the name that somebody gives; null: one of the usual ones
 * @returns its place, -1 where there is none
 */
export const clientColumn = (names: readonly string[], said: string | null): number =>
  said === null ? names.findIndex((name) => USUAL.test(name)) : names.indexOf(said);
