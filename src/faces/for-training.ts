/**
 * The score from which a take trains without the player's word: the label of a take is its role, and this is how sure that is. Of
 * FER2013's PublicTest 61 % of the faces reach it in the role that most people see in them and 1 % in one that they do not (both
 * models, benchmarks/takes.mjs), so that even where every third take shows something else, one label in 100 is wrong. At 30 it would be one in
 * fifty; at 90 two of three good takes would be asked about. The model is not the only judge, else it would learn nothing
 * but what it knows: whatever scores less waits for the player's own answer.
 */
export const FOR_TRAINING = 60;
