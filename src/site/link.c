#include "site/link_internal.h"

#include "base/alloc.h"

#define CONTROL_BYTES (256u << 10) /* of notes that wait for nothing; HELLO and WELCOME are the longest */

void link_ping(struct link *link)
{
	link_send_control(link, SITE_PING, (uint64_t)loop_now_ns(link->options.loop));
}

int64_t link_heard_ns(const struct link *link)
{
	return link->heard_ns;
}

int64_t link_rtt_ns(const struct link *link)
{
	int64_t least = 0;
	for (size_t i = 0; i < MIN(link->rtt_count, LINK_RTT_SAMPLES); i++)
		least = least ? MIN(least, link->rtt_ns[i]) : link->rtt_ns[i];
	return least;
}

bool link_is_gone(const struct link *link)
{
	return link->gone;
}

static void on_before_wait(void *context)
{
	link_flush(context);
}

struct link *link_create(const struct link_options *options)
{
	struct link *link = NEW(struct link);
	link->options = *options;
	link->heard_ns = loop_now_ns(options->loop);
	buf_init(&link->control, CONTROL_BYTES);
	buf_init(&link->out, LINK_QUEUE_BYTES);
	link->hook = hook_create_before_wait(options->loop, on_before_wait, link);
	return link;
}

void link_destroy(struct link *link)
{
	if (!link)
		return;
	hook_close(link->hook);
	link_out_done(link);
	link_in_done(link);
	free(link);
}
