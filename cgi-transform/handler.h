/*
 * What transform answers. To make a service of your own, replace the handlers behind this table.
 */
#ifndef CGI_TRANSFORM_HANDLER_H
#define CGI_TRANSFORM_HANDLER_H

#include "service.h"

/*
 * POST /reverse {"message": m} gives {"message": m reversed}; POST /reverse/message gives the reversed string
 * alone, a JSON value that app's reply includes; GET /_health. Errors: see message_decode() in message.h.
 */
extern const struct service transform_service;

#endif
