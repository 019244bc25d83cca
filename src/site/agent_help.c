#include "site/agent_help.h"

#include "base/roff.h"
#include "base/settings.h"

#include <stdio.h>

/* Those settings of the hub that mean something at a site. */
static const enum setting of_use[] = {
	SETTING_WORKER_MAX,	    SETTING_WORKER_SANDBOX,	SETTING_WORKER_NETWORK,	   SETTING_WORKER_ZYGOTES,
	SETTING_ENVIRONMENTS_PYTHON, SETTING_ENVIRONMENTS_INDEX, SETTING_SITES_CACHE_BYTES, SETTING_LOG_LEVEL,
};

void agent_print_help(void)
{
	printf("dlhub-site %s - runs what a hub sends to this machine\n\n"
	       "  dlhub-site --config NAME.site [--data DIR] [--SETTING VALUE]...\n\n"
	       "NAME.site is what `dlhub site add NAME` has written; keep it as you keep a password.\n"
	       "Artifacts and Python environments are kept in DIR; without --data that is NAME.data\n"
	       "beside the file. SIGTERM ends it after the runs under way.\n\n"
	       "Settings are those of dlhubd (dlhubd --help), also from the environment (DLHUBD_…);\n"
	       "of use here:\n\n",
	       DLHUB_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(of_use); i++)
		printf("  --%s\n", settings_row(of_use[i])->name);
	printf("\n`man dlhub-site` says what they mean (`dlhub-site --man` prints that page).\n\n"
	       "Example: dlhub-site --config beamline.site\n");
}

static void put_item(const char *head, const char *text)
{
	printf(".TP\n.B ");
	roff_put(head);
	printf("\n");
	roff_put(text);
	printf("\n");
}

static void put_setting(const struct setting_row *row)
{
	printf(".TP\n\\fB\\-\\-");
	roff_put(row->name);
	printf("\\fR \\fIVALUE\\fR\n");
	roff_put(row->doc);
	if (*row->initial) {
		printf("; default ");
		roff_put(row->initial);
	}
	printf(".\n");
}

void agent_print_man(void)
{
	printf(".TH DLHUB\\-SITE 1 \"\" \"DLHub %s\"\n.SH NAME\ndlhub\\-site \\- run on this machine what a DLHub hub sends to it\n"
	       ".SH SYNOPSIS\n.B dlhub\\-site\n\\fB\\-\\-config\\fR \\fINAME\\fR.site [\\fB\\-\\-data\\fR \\fIDIR\\fR] "
	       "[\\fB\\-\\-\\fR\\fISETTING VALUE\\fR]...\n.SH DESCRIPTION\n",
	       DLHUB_VERSION);
	roff_put("dlhub-site makes this machine a site of a hub: it dials out to the hub, says what it can run, pulls the files of the "
		 "servables that the hub places here, and runs them in the same isolated workers as the hub does on its own machine. "
		 "It needs no open port. Everything on the wire is encrypted, and both ends are authenticated.\n");
	printf(".PP\n");
	roff_put("Runs are never tied to a site: what it had when it goes is run again elsewhere, and what it has while the "
		 "connection is broken goes on and is delivered when it is back.\n");
	printf(".SH OPTIONS\n");
	put_item("--config NAME.site",
		 "What `dlhub site add NAME` has written: the hub's address and keys. It holds a secret; keep it as you "
				       "keep a password.");
	put_item("--data DIR", "Where artifacts and Python environments are kept; NAME.data beside the file without it.");
	put_item("--help", "What it is and takes, in short.");
	put_item("--man", "This page.");
	put_item("--version", "Its version; the hub's is to be the same.");
	printf(".SH SETTINGS\nThose of dlhubd; of use here:\n");
	for (size_t i = 0; i < ARRAY_SIZE(of_use); i++)
		put_setting(settings_row(of_use[i]));
	printf(".SH ENVIRONMENT\n");
	put_item("DLHUBD_WORKER_MAX, ...", "Each setting also comes from the environment; options stand over it.");
	printf(".SH SIGNALS\n");
	put_item("SIGTERM, SIGINT", "It takes nothing new, finishes what it has, and ends; asked twice, it ends at once.");
	printf(".SH EXAMPLES\n.EX\n");
	roff_put("dlhub site add beamline --visible-to group:lab    # at the hub, as an administrator\n"
		 "dlhub-site --config beamline.site                 # here\n");
	printf(".EE\n.SH SEE ALSO\n.BR dlhub (1)\n");
}
