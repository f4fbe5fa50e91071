/*
 * The program cgi-transform.
 */
#include "responder.h"

extern const struct service transform_service; /* handler.c */

int
main(int argc, char *argv[])
{
    return responder_main(argc, argv, &transform_service);
}
