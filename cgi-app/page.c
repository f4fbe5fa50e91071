/*
 * The files of the page, and the fields that they are sent with.
 */
#include "page.h"

#include <string.h>

/* NOLINTBEGIN(bugprone-macro-parentheses): a name that is declared takes none */
/* The assembler reads the file, from where make runs. The Makefile says that this object depends on it. */
#define EMBED(name, file)                                                                                 \
    extern const char name[], name##_end[];                                                               \
    __asm__(".pushsection .rodata\n"                                                                      \
            ".global " #name ", " #name "_end\n" #name ": .incbin \"" file "\"\n" #name "_end: .byte 0\n" \
            ".popsection\n")
/* NOLINTEND(bugprone-macro-parentheses) */

EMBED(page_html, "cgi-app/page/index.html");
EMBED(page_css, "cgi-app/page/page.css");
EMBED(page_js, "cgi-app/page/page.js");
EMBED(page_icon, "cgi-app/page/favicon.svg");
EMBED(page_openapi, "cgi-app/page/openapi.yaml");

/* Nothing but these files, no frame around the page, no form to elsewhere. */
#define POLICY                                                                                      \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " \
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "               \
    "require-trusted-types-for 'script'; trusted-types 'none'"

static const struct page {
    const char *path, *content_type, *begin, *end;
} pages[] = {
    {"/", "text/html; charset=utf-8", page_html, page_html_end},
    {"/page.css", "text/css; charset=utf-8", page_css, page_css_end},
    {"/page.js", "text/javascript; charset=utf-8", page_js, page_js_end},
    {"/favicon.ico", "image/svg+xml", page_icon, page_icon_end},
    {"/openapi.yaml", "application/yaml", page_openapi, page_openapi_end},
};

int
page_options(const struct request *request, struct reply *reply)
{
    (void)request;
    reply_header(reply, "Allow", "GET, HEAD, OPTIONS");
    return 204;
}

int
page_answer(const struct request *request, struct reply *reply)
{
    const struct page *page = pages;

    if (strcmp(request->method, "OPTIONS") == 0)
        return page_options(request, reply);
    while (strcmp(page->path, request->path) != 0) /* the routes hold no other path */
        page++;
    reply->content_type = page->content_type;
    reply_header(reply, "Content-Security-Policy", POLICY);
    reply_header(reply, "Referrer-Policy", "no-referrer");
    buffer_append(&reply->body, page->begin, (size_t)(page->end - page->begin));
    return 200;
}
