/*
 * What app gives a browser: the files in cgi-app/page/, which the build puts into the program.
 */
#ifndef APP_PAGE_H
#define APP_PAGE_H

#include "service.h"

/* GET, HEAD and OPTIONS of such a file, by its path. */
int page_answer(const struct request *request, struct reply *reply);

/* What may be done at a path that can only be read. */
int page_options(const struct request *request, struct reply *reply);

#endif
