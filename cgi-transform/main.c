/*
 * The program cgi-transform.
 */
#include "handler.h"
#include "responder.h"

int
main(int argc, char *argv[])
{
    return responder_main(argc, argv, &transform_service);
}
