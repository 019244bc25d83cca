/* site/agent_help.h - what dlhub-site says of itself: its help and its page of the manual. To standard output. */
#pragma once

void agent_print_help(void);
void agent_print_man(void);
