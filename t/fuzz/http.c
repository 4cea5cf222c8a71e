/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * libFuzzer target for staple_http*.c. Proves that no bytes crash the parser,
 * that how they are cut makes no difference, that no limit is passed, and that
 * what is handed out is fit for a log and a request.
 *
 * An input that begins with 'u' is a URL and, behind a line end, a reference;
 * any other is a size of cut (one byte) and the bytes of a connection.
 */

#include "staple_http.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const staple_http_limits_t tight = { 200, 1000, 12, 300 };

static void check_text(const char *text)
{
    for (; text && *text; text++) {
        require(*text >= ' ' && *text < 0x7f);
    }
}

static staple_http_parser_t *feed(const uint8_t *data, size_t size, size_t cut,
                                  apr_size_t *total, apr_pool_t *p)
{
    staple_http_parser_t *parser = staple_http_parser_create(&tight, p);
    size_t at;

    *total = 0;
    for (at = 0; at < size; at += cut) {
        size_t len = size - at < cut ? size - at : cut;
        /* an allocation of its own, so that an overread is seen */
        void *piece = malloc(len);
        apr_size_t used;

        memcpy(piece, data + at, len);
        check_text(staple_http_state_text(
                       staple_http_feed(parser, piece, len, &used)));
        free(piece);
        require(used <= len);
        *total += used;
    }
    staple_http_close(parser);
    return parser;
}

static int same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static void fuzz_response(const uint8_t *data, size_t size, size_t cut,
                          apr_pool_t *p)
{
    apr_size_t used_whole, used_cut;
    staple_http_parser_t *whole = feed(data, size, size, &used_whole, p);
    staple_http_parser_t *pieces = feed(data, size, cut, &used_cut, p);
    const staple_http_response_t *a = staple_http_response(whole);
    const staple_http_response_t *b = staple_http_response(pieces);
    const apr_time_t now = apr_time_from_sec(1700000000);

    require(staple_http_fault(whole) == staple_http_fault(pieces));
    require(a->status == b->status && a->is_typed == b->is_typed);
    require(same(a->location, b->location) && same(a->etag, b->etag));
    require(same(a->last_modified, b->last_modified));
    require(a->body_len <= tight.max_body);
    check_text(a->location);
    check_text(a->etag);
    check_text(a->last_modified);
    check_text(staple_http_fault_text(staple_http_fault(whole)));
    require(staple_http_has_head(whole) == staple_http_has_head(pieces));
    require(staple_http_retry_after(a, now) >= -1);
    require(staple_http_fresh_for(a, now) >= -1);
    if (staple_http_fault(whole) == STAPLE_HTTP_OK) {
        require(used_whole == used_cut && a->body_len == b->body_len);
        require(!a->body_len || !memcmp(a->body, b->body, a->body_len));
    }
}

/* What was normalised once is not changed by doing it again. */
static void check_url(const staple_url_t *url, apr_pool_t *p)
{
    staple_url_t again;

    check_text(url->text);
    require(!strpbrk(url->text, " @#") || !strpbrk(url->authority, " @#"));
    require(url->path[0] == '/' && url->port > 0);
    require(staple_url_target(url)[0] == '/');
    if (strlen(url->text) <= STAPLE_URL_MAX) {
        require(staple_url_parse(&again, url->text, p)
                == STAPLE_URL_OK);
        require(same(url->text, again.text) && same(url->host, again.host));
    }
}

static void fuzz_url(const uint8_t *data, size_t size, apr_pool_t *p)
{
    char *text = apr_pstrmemdup(p, (const char *)data, size);
    char *reference = strchr(text, '\n');
    staple_url_t url, other;
    staple_url_e reason;

    if (reference) {
        *reference++ = '\0';
    }
    reason = staple_url_parse(&url, text, p);
    check_text(staple_url_text(reason));
    if (reason != STAPLE_URL_OK) {
        return;
    }
    check_url(&url, p);
    if (staple_url_for_get(&other, &url, data, size % 100, p)) {
        check_url(&other, p);
    }
    if (reference && staple_url_resolve(&other, &url, reference, p)
                     == STAPLE_URL_OK) {
        check_url(&other, p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *pool;

    if (!pool) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    if (size < 2) {
        return 0;
    }
    if (data[0] == 'u') {
        fuzz_url(data + 1, size - 1, pool);
    }
    else {
        fuzz_response(data + 1, size - 1, (size_t)data[0] % 16 + 1, pool);
    }
    apr_pool_clear(pool);
    return 0;
}
