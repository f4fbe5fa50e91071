/*
 * What app, the entry point, answers.
 */
#ifndef CGI_APP_HANDLER_H
#define CGI_APP_HANDLER_H

#include "service.h"

/*
 * POST /api {"message": m} checks m and gives {"message":…,"rand":r}, in which an SSI tag stands for the value that
 * nginx fetches from transform; GET / says what this is; GET /_health. Errors: see message_decode() in message.h.
 */
extern const struct service app_service;

#endif
