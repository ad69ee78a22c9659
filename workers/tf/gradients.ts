/** What a worker that trains imports beside tfjs's core: the gradients of tfjs's own operations, which the core alone does not know. */
import "@tensorflow/tfjs-core/dist/register_all_gradients";
