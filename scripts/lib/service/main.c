/*
 * The program cgi-NAME.
 */
#include "responder.h"

extern const struct service NAME_service; /* handler.c */

int
main(int argc, char *argv[])
{
    return responder_main(argc, argv, &NAME_service);
}
