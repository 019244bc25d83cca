/* What a servable may tell the hub, and ask it, in the middle of a run. */
#include "worker/loop_internal.h"

#include "base/clock.h"

#include <poll.h>

#define ASK_AGAIN_NS 1000000 /* a servable may ask in its innermost loop */

enum err_code worker_progress(struct worker_loop *loop, struct str json, struct err *err)
{
	struct frame_header header = { .type = FRAME_PROGRESS, .length = (uint32_t)json.len, .run = loop->run_id };

	if (!loop->run_id)
		return err_set(err, ERR_FAILED_PRECONDITION, "there is no run to tell the progress of");
	if (json.len > FRAME_PROGRESS_MAX)
		return err_set(err, ERR_OUT_OF_RANGE, "progress of %zu bytes, but at most %u are taken at once", json.len,
			       FRAME_PROGRESS_MAX);
	if (!frame_encode(&loop->out, &header, json.data))
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "no memory to tell the progress");
	return loop_flush(loop, err);
}

bool worker_cancelled(struct worker_loop *loop)
{
	int64_t now_ns = clock_ns();
	struct err err = ERR_INIT;

	if (!loop->run_id || loop->run_cancelled || now_ns - loop->asked_ns < ASK_AGAIN_NS)
		return loop->run_cancelled;
	loop->asked_ns = now_ns;
	struct pollfd hub = { .fd = loop->inbox.fd, .events = POLLIN };
	/* Something is there, so that this does not wait. Without its hub nobody waits for the run. */
	if (poll(&hub, 1, 0) > 0 && loop_take_in(loop, &err) != ERR_OK && err.code != ERR_CANCELLED)
		loop->run_cancelled = true;
	err_done(&err);
	return loop->run_cancelled;
}
