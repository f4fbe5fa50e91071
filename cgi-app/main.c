/*
 * The program cgi-app.
 */
#include "handler.h"
#include "responder.h"

int
main(int argc, char *argv[])
{
    return responder_main(argc, argv, &app_service);
}
