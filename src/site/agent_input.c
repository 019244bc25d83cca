/* Inputs of runs that the hub names instead of sending: brought before their run goes to its worker. */
#include "site/agent_internal.h"

#include "base/alloc.h"

struct held_input {
	struct held_input *next;
	struct held_run *held;
	uint32_t number;	/* of the file, in the RUN's frame */
	struct input *input;	/* NULL: it has come, or cannot */
	struct file_view *view; /* borrowed of the run */
};

static void on_brought(void *context, struct file_view *view, const struct err *err)
{
	struct held_input *input = context;
	struct held_run *held = input->held;
	struct run *run = held->run;
	input->input = NULL;
	input->view = view;
	if (view) {
		view->next = run->files;
		run->files = view;
	} else if (run->err.code == ERR_OK) {
		err_set(&run->err, err->code, "%s", err_text(err));
	}
	held->inputs_missing--;
	if (held->note && !held->inputs_missing)
		agent_begin_run(held);
}

enum err_code agent_on_input(struct held_run *held, const struct site_input *file, struct err *err)
{
	struct digest digest;
	size_t count = 0;
	for (const struct held_input *input = held->inputs; input; input = input->next, count++)
		if (input->number == file->number)
			return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: a run's file comes twice");
	if (held->note || count == FRAME_TENSORS_MAX || file->number < FRAME_FILE_FIRST || file->number == FRAME_INLINE ||
	    file->bytes > INT64_MAX / 2)
		return err_set(err, ERR_INVALID_ARGUMENT, "broke the protocol: a file that is none of a run to come");
	struct held_input *input = NEW(struct held_input);
	*input = (struct held_input){ .next = held->inputs, .held = held, .number = file->number };
	held->inputs = input;
	held->inputs_missing++;
	memcpy(digest.bytes, file->digest, sizeof(digest.bytes));
	input->input = inputs_bring(store_inputs(held->worker->agent->store), held->worker->id, &digest, file->bytes, on_brought, input);
	return ERR_OK;
}

void agent_forget_inputs(struct held_run *held)
{
	for (struct held_input *next; held->inputs; held->inputs = next) {
		next = held->inputs->next;
		if (held->inputs->input)
			input_forget(held->inputs->input);
		free(held->inputs);
	}
	held->inputs_missing = 0;
}

bool agent_get_file(void *context, uint32_t number, uint8_t **ret_data, size_t *ret_size)
{
	const struct held_run *held = context;
	for (const struct held_input *input = held->inputs; input; input = input->next)
		if (input->number == number && input->view) {
			*ret_data = input->view->data;
			*ret_size = input->view->size;
			return true;
		}
	return false;
}
