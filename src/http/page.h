/* http/page.h - the page at the hub's address, made from web/index.html when the hub is built. */
#pragma once

extern const char page_html[];
/* Its Content-Security-Policy: its own script and style, this hub's routes, and nothing else. */
extern const char page_policy[];
