#include "site/channel_internal.h"

#include "base/alloc.h"

#include <unistd.h>

void channel_end(struct channel *channel, const struct err *why)
{
	if (channel->ended)
		return;
	channel->ended = true;
	watch_set(channel->watch, 0);
	channel->events.on_end(channel->events.context, why);
}

static void on_socket(void *context, unsigned int events)
{
	struct channel *channel = context;
	if (events & WATCH_WRITE) {
		watch_set(channel->watch, WATCH_READ);
		channel_flush(channel);
	}
	if (!channel->ended && (events & (WATCH_READ | WATCH_HANGUP)))
		channel_receive(channel);
}

void channel_read_rest(struct channel *channel)
{
	while (!channel->ended && channel_receive(channel))
		;
}

/* --- begin and end --- */

enum err_code channel_create(struct channel_group *group, int fd, const struct channel_events *events, struct channel **ret,
			     struct err *err)
{
	struct channel *channel = NEW(struct channel);
	int64_t most = settings_int(group->settings, SETTING_LIMITS_OUTPUT_BYTES);
	channel->group = group;
	channel->events = *events;
	channel->socket = fd;
	buf_init(&channel->out, FRAME_LENGTH_MAX * 2ul);
	frames_in_init(&channel->in, FRAME_LENGTH_MAX, READ_BYTES);
	channel->slabs = slab_pool_create(4 * settings_int(group->settings, SETTING_LIMITS_BODY_BYTES));
	channel->view = slab_view_create(4 * most);
	channel->loans = loans_create(channel->view, most / 4, channel_give_back, channel);
	enum err_code code = watch_create(group->loop, fd, on_socket, channel, &channel->watch, err);
	if (code != ERR_OK) {
		channel_destroy(channel);
		return code;
	}
	watch_set(channel->watch, WATCH_READ);
	*ret = channel;
	return ERR_OK;
}

void channel_destroy(struct channel *channel)
{
	if (!channel)
		return;
	for (struct channel **at = &channel->group->dirty; *at; at = &(*at)->next_dirty)
		if (*at == channel) {
			*at = channel->next_dirty;
			break;
		}
	watch_close(channel->watch);
	close(channel->socket);
	for (size_t i = 0; i < channel->fd_count; i++)
		file_view_unref(channel->fds[i].file);
	frames_in_done(&channel->in);
	slab_pool_destroy(channel->slabs);
	loans_end(channel->loans);
	slab_view_unref(channel->view);
	buf_done(&channel->out);
	slots_done(&channel->slots);
	free(channel);
}

void channel_mute(struct channel *channel)
{
	channel->ended = true;
	watch_set(channel->watch, 0);
}

struct batch **channel_held(const struct channel *channel, size_t *ret_count)
{
	return slots_held(&channel->slots, ret_count);
}

/* --- the group --- */

static void on_flush(void *context)
{
	struct channel_group *group = context;
	while (group->dirty) {
		struct channel *channel = group->dirty;
		group->dirty = channel->next_dirty;
		channel->dirty = false;
		channel_flush(channel);
	}
	hook_no_wait(group->flush_hook, false);
}

struct channel_group *channel_group_create(struct loop *loop, const struct settings *settings)
{
	struct channel_group *group = NEW(struct channel_group);
	group->loop = loop;
	group->settings = settings;
	group->flush_hook = hook_create_before_wait(loop, on_flush, group);
	return group;
}

void channel_group_destroy(struct channel_group *group)
{
	if (!group)
		return;
	hook_close(group->flush_hook);
	free(group);
}
