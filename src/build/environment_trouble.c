#include "build/environment.h"

#include "base/alloc.h"
#include "base/str.h"

static void keep(char **to, const char *text, size_t len)
{
	free(*to);
	*to = xstrndup(text, strnlen(text, MIN(len, 2000)));
}

/* "ERROR: Could not find a version that satisfies the requirement x==9 (from versions: 1.0, 2.0)" */
static void read_no_version(struct environment_trouble *trouble, const char *rest)
{
	const char *bracket = strstr(rest, " (from ");
	const char *versions = strstr(rest, "from versions: ");

	if (!bracket)
		bracket = rest + strlen(rest);
	keep(&trouble->no_version, rest, (size_t)(bracket - rest));
	if (!versions)
		return;
	versions += strlen("from versions: ");
	size_t len = strcspn(versions, ")");
	trouble->none_at_all = len == 4 && memcmp(versions, "none", 4) == 0;
	keep(&trouble->versions, versions, len);
}

void environment_trouble_line(struct environment_trouble *trouble, const char *line)
{
	static const char no_version[] = "Could not find a version that satisfies the requirement ";
	const char *at = strstr(line, no_version);

	if (at)
		read_no_version(trouble, at + sizeof(no_version) - 1);
	if (strstr(line, "conflicting dependencies") || (strstr(line, "Cannot install ") && strstr(line, "because")))
		keep(&trouble->conflict, str_starts(line, "ERROR: ") ? line + 7 : line, SIZE_MAX);
	if (str_starts(line, "ERROR: "))
		keep(&trouble->last, line + 7, SIZE_MAX);
	trouble->unreachable |= strstr(line, "connection broken by") || strstr(line, "Max retries exceeded") ||
				strstr(line, "Temporary failure in name resolution");
	trouble->no_space |= strstr(line, "No space left on device") || strstr(line, "Disk quota exceeded");
	trouble->no_venv |= strstr(line, "ensurepip is not available") || strstr(line, "No module named venv") ||
			    strstr(line, "No module named ensurepip");
}

static enum err_code explain_no_version(const struct environment_trouble *trouble, const char *python, struct err *err)
{
	size_t name = strcspn(trouble->no_version, "=<>!~;[ ");

	if (trouble->unreachable && trouble->none_at_all) {
		err_set(err, ERR_UNAVAILABLE, "the package index cannot be reached, so '%s' was not installed", trouble->no_version);
		return err_advise(err, "try again later; the hub's operator can name another index (environments.index)");
	}
	if (!trouble->versions || trouble->none_at_all) {
		err_set(err, ERR_INVALID_ARGUMENT, "no package '%.*s' with a wheel for Python %s is on the index", (int)name,
			trouble->no_version, python);
		return err_advise(err, "check its spelling; packages that must be built from source are not installed");
	}
	/* The newest versions stand last. */
	const char *versions = trouble->versions;
	size_t len = strlen(versions);
	if (len > 120) {
		const char *comma = strchr(versions + len - 120, ',');
		versions = comma ? comma + 2 : versions;
	}
	err_set(err, ERR_INVALID_ARGUMENT, "no version that fits '%s' has a wheel for Python %s", trouble->no_version, python);
	return err_advise(err, "there are %s%s", versions == trouble->versions ? "" : "…, ", versions);
}

enum err_code environment_trouble_explain(const struct environment_trouble *trouble, const char *python, struct err *err)
{
	if (trouble->no_space)
		return err_set(err, ERR_RESOURCE_EXHAUSTED, "the disk is full: the packages do not fit");
	if (trouble->no_venv) {
		err_set(err, ERR_FAILED_PRECONDITION, "the interpreter cannot make environments");
		return err_advise(err, "the hub's operator must install its venv package (Debian: apt install python3-venv)");
	}
	if (trouble->conflict) {
		err_set(err, ERR_INVALID_ARGUMENT, "%s", trouble->conflict);
		return err_advise(err, "loosen the versions of one of them in requirements.txt or dlhub.dependencies.python; the "
				       "build log says who needs what");
	}
	if (trouble->no_version)
		return explain_no_version(trouble, python, err);
	if (trouble->unreachable)
		return err_set(err, ERR_UNAVAILABLE, "the package index cannot be reached");
	return err_set(err, ERR_FAILED_PRECONDITION, "installing the packages failed: %s",
		       trouble->last ? trouble->last : "see the build log");
}

void environment_trouble_done(struct environment_trouble *trouble)
{
	free(trouble->no_version);
	free(trouble->versions);
	free(trouble->conflict);
	free(trouble->last);
	*trouble = (struct environment_trouble){ 0 };
}
