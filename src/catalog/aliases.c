/* Aliases: names that move between the versions of a servable, with their history. */
#include "base/alloc.h"
#include "base/clock.h"
#include "catalog/access.h"

/* An alias stands where a number, "latest" or a digest can, so it is none of those. */
static enum err_code check_name(const char *alias, struct err *err)
{
	bool digits = *alias && strspn(alias, "0123456789") == strlen(alias);
	if (name_is_servable(str_of(alias)) && !digits && strcmp(alias, "latest") != 0)
		return ERR_OK;
	err_set(err, ERR_INVALID_ARGUMENT, "'%s' cannot be an alias", alias);
	err_advise(err,
		   "use letters, digits, '.', '_' and '-', not a number alone and not \"latest\", such as \"stable\"");
	return ERR_INVALID_ARGUMENT;
}

static enum err_code move_alias(struct connection *connection, int64_t servable, const char *alias, int64_t number,
				struct err *err)
{
	int64_t there = 0;
	enum err_code code = store_get_int(
		connection, "SELECT count(*) FROM version WHERE servable = ?1 AND number = ?2 AND removed_ms = 0",
		BINDS(bind_int(servable), bind_int(number)), &there, err);
	if (code == ERR_OK && !there)
		code = err_set(err, ERR_NOT_FOUND, "the servable has no version %lld", (long long)number);
	if (code != ERR_OK)
		return code;
	return store_run(connection,
			 "INSERT INTO alias(servable, name, number) VALUES(?1, ?2, ?3)"
			 " ON CONFLICT DO UPDATE SET number = excluded.number",
			 BINDS(bind_int(servable), bind_text(alias), bind_int(number)), err);
}

static enum err_code drop_alias(struct connection *connection, int64_t servable, const char *alias, struct err *err)
{
	int64_t rows = 0;
	enum err_code code = store_change(connection, "DELETE FROM alias WHERE servable = ?1 AND name = ?2",
					  BINDS(bind_int(servable), bind_text(alias)), &rows, err);
	return code == ERR_OK && !rows ? err_set(err, ERR_NOT_FOUND, "the servable has no alias '%s'", alias) : code;
}

enum err_code catalog_alias_set(struct catalog *catalog, const char *owner, const char *name, const char *alias,
				int64_t number, const char *by, struct err *err)
{
	struct connection *connection;
	int64_t servable = 0;
	enum err_code code = number ? check_name(alias, err) : ERR_OK;
	if (code == ERR_OK)
		code = store_write_begin(catalog, &connection, err);
	if (code != ERR_OK)
		return code;
	code = servable_find(connection, owner, name, &servable, err);
	if (code == ERR_OK)
		code = number ? move_alias(connection, servable, alias, number, err) :
				drop_alias(connection, servable, alias, err);
	if (code == ERR_OK)
		code = store_run(
			connection,
			"INSERT INTO alias_move(servable, name, number, author, moved_ms) VALUES(?1, ?2, ?3, ?4, ?5)",
			BINDS(bind_int(servable), bind_text(alias), bind_int(number), bind_text(by),
			      bind_int(clock_wall_ms())),
			err);
	return store_write_end(catalog, connection, code, err);
}
