/* cli/cmd_doctor.c - `dlhub doctor`: what is wrong with this installation, and what to do about it. */
#include "base/alloc.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/out.h"
#include "io/sandbox.h"

void doctor_report(struct doctor *doctor, enum doctor_grade grade, const char *what, const char *finding,
		   const char *advice)
{
	static const char *const words[] = { "ok", "warn", "fail" };
	static const char *const styles[] = { GREEN, YELLOW, RED };
	doctor->grades[grade]++;
	json_array_append_new(doctor->lines,
			      json_pack("{s:s,s:s,s:s,s:s*}", "check", what, "grade", words[grade], "finding", finding,
					"what_to_do", grade == DOCTOR_OK ? NULL : advice));
	if (doctor->cli->json)
		return;
	out_print(doctor->cli, "%s%-4s" PLAIN "  %-16s %s\n", styles[grade], words[grade], what, finding);
	if (grade != DOCTOR_OK && advice)
		out_print(doctor->cli, "                        %s\n", advice);
	fflush(stdout);
}

static void check_sandbox(struct doctor *doctor)
{
	static const struct {
		unsigned int part;
		const char *missing, *advice;
	} parts[] = {
		{ SANDBOX_USER_NAMESPACE, "user namespaces",
		  "sysctl kernel.unprivileged_userns_clone=1, or user.max_user_namespaces over 0" },
		{ SANDBOX_MOUNT_NAMESPACE, "mount namespaces",
		  "allow unprivileged user namespaces (containers often do not)" },
		{ SANDBOX_PID_NAMESPACE, "pid namespaces", "allow unprivileged user namespaces" },
		{ SANDBOX_NETWORK_NAMESPACE, "network namespaces", "allow unprivileged user namespaces" },
		{ SANDBOX_SECCOMP, "seccomp", "a kernel with CONFIG_SECCOMP_FILTER, and a container that permits it" },
		{ SANDBOX_LANDLOCK, "Landlock", "a kernel of 5.13 or later with landlock in lsm=" },
	};
	unsigned int found = sandbox_probe();
	char text[256];
	sandbox_format(found, text, sizeof(text));
	if ((found & SANDBOX_ALL) == SANDBOX_ALL) {
		doctor_report(doctor, DOCTOR_OK, "sandbox", text, NULL);
		return;
	}
	doctor_report(doctor, DOCTOR_WARN, "sandbox", *text ? text : "nothing",
		      "foreign models run behind fewer walls; publish and serve only what you trust, or:");
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (!(found & parts[i].part)) {
			_cleanup_free_ char *finding = xasprintf("%s: not on this host", parts[i].missing);
			doctor_report(doctor, DOCTOR_WARN, "sandbox", finding, parts[i].advice);
		}
}

static void check_endpoint(struct doctor *doctor)
{
	struct cli *cli = doctor->cli;
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *hub = NULL, *me = NULL;
	_cleanup_free_ char *what = xasprintf("%s (%s)", cli->endpoint, cli->endpoint_origin);
	if (cli_get(cli, "/api/v1/hub", &hub, &err) != ERR_OK) {
		bool absent = err.code == ERR_UNAVAILABLE;
		doctor_report(doctor, absent ? DOCTOR_WARN : DOCTOR_FAIL, "hub", err_text(&err),
			      absent ? NULL : err_hint(&err));
		err_done(&err);
		return;
	}
	const char *version = json_path_string(hub, "version") ?: "?";
	_cleanup_free_ char *finding = xasprintf("%s answers: version %s", what, version);
	bool same = strcmp(version, DLHUB_VERSION) == 0;
	doctor_report(doctor, same ? DOCTOR_OK : DOCTOR_WARN, "hub", finding,
		      "this program is version " DLHUB_VERSION
		      ": bring both to the same version if something does not work");
	if (str_starts(cli->endpoint, "http://") && !client_endpoint_is_loopback(cli->endpoint))
		doctor_report(doctor, DOCTOR_WARN, "encryption", "the connection is not encrypted",
			      "use https:// for a hub elsewhere");
	if (cli_get(cli, "/api/v1/whoami", &me, &err) != ERR_OK) {
		doctor_report(doctor, DOCTOR_FAIL, "login", err_text(&err), "log in again: dlhub login");
	} else if (!json_path_string(me, "user")) {
		doctor_report(doctor, DOCTOR_WARN, "login", "nobody: you see and run what is public",
			      "to publish: dlhub login");
	} else {
		_cleanup_free_ char *who =
			xasprintf("%s%s", json_path_string(me, "user"),
				  json_is_true(json_object_get(me, "admin")) ? ", an administrator" : "");
		doctor_report(doctor, DOCTOR_OK, "login", who, NULL);
	}
	err_done(&err);
}

static enum err_code run_doctor(struct cli *cli, struct err *err)
{
	_cleanup_json_ json_t *lines = json_array();
	struct doctor doctor = { .cli = cli, .lines = lines };
	const char *data = args_value(&cli->args, "data");
	doctor_check_programs(&doctor);
	doctor_check_python(&doctor, args_value(&cli->args, "python") ?: "/usr/bin/python3");
	check_sandbox(&doctor);
	doctor_check_data(&doctor, data);
	check_endpoint(&doctor);
	if (cli->json) {
		_cleanup_json_ json_t *json =
			json_pack("{s:O,s:i,s:i}", "checks", lines, "warnings", (int)doctor.grades[DOCTOR_WARN],
				  "failures", (int)doctor.grades[DOCTOR_FAIL]);
		out_json(json);
	}
	if (!doctor.grades[DOCTOR_FAIL]) {
		out_say(cli, doctor.grades[DOCTOR_WARN] ? "it works, with %zu warning%s\n" : "all is well\n",
			doctor.grades[DOCTOR_WARN], doctor.grades[DOCTOR_WARN] == 1 ? "" : "s");
		return ERR_OK;
	}
	if (cli->json) { /* the document is printed: no second one for the error */
		cli->json = false;
	}
	return err_set(err, ERR_FAILED_PRECONDITION, "%zu check%s failed", doctor.grades[DOCTOR_FAIL],
		       doctor.grades[DOCTOR_FAIL] == 1 ? "" : "s");
}

static const struct cli_option doctor_options[] = {
	{ "data", 0, "DIR", "also look into this hub's data folder (default: that of `dlhub serve`)", "DIR" },
	{ "python", 0, "PROGRAM", "the interpreter of environments (default /usr/bin/python3)", "FILE" },
	{ 0 },
};

const struct cli_command cmd_doctor = {
	.name = "doctor",
	.summary = "say what is wrong with this installation",
	.usage = "[--data DIR]",
	.about =
		"Checks the programs, OpenVINO, the Python interpreter, the sandbox, a data folder, and the hub at the\n"
		"endpoint. Each line says ok, warn or fail, and what to do. The exit code is 8 where something failed.",
	.options = doctor_options,
	.examples = "dlhub doctor\n"
		    "dlhub doctor --data /srv/dlhub --json",
	.run = run_doctor,
};
