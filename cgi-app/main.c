/*
 * The program cgi-app.
 */
#include "responder.h"

extern const struct service app_service; /* handler.c */

int
main(int argc, char *argv[])
{
    return responder_main(argc, argv, &app_service);
}
