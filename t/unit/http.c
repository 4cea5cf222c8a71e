/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Proves staple_http*.c: each case is fed whole, byte by byte, and cut at every
 * position, and must come out the same; every piece lies against a page that
 * must not be touched, so an overread is a crash. The seeds of the fuzzer are
 * replayed as well.
 */

#include "staple_address.h"
#include "staple_http.h"
#include "staple_text.h"
#include "tap.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "../fuzz/http.c"

static apr_pool_t *pool;

/* ---- pages ---- */

static char *guard; /* the first byte that must not be read */
static apr_size_t room;

static void map_pages(void)
{
    apr_size_t page = (apr_size_t)sysconf(_SC_PAGESIZE);
    char *base;

    room = page * 32;
    base = mmap(NULL, room + page, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + room, page, PROT_NONE)) {
        printf("Bail out! no guard page\n");
        exit(1);
    }
    guard = base + room;
}

/* The bytes, copied to where one more would be a crash. */
static const char *at_guard(const char *bytes, apr_size_t len)
{
    return memcpy(guard - len, bytes, len);
}

/* ---- responses ---- */

typedef struct outcome_t {
    staple_http_fault_e fault;
    apr_size_t used;
    staple_http_parser_t *parser;
} outcome_t;

static const staple_http_limits_t small = { 100, 400, 5, 50 };

static void feed_piece(outcome_t *outcome, const char *bytes, apr_size_t len)
{
    apr_size_t used = 0;

    staple_http_feed(outcome->parser, at_guard(bytes, len), len, &used);
    outcome->used += used;
}

/* Fed in pieces of a size, the first of another; then closed. */
static outcome_t feed_cut(const char *bytes, apr_size_t len, apr_size_t first,
                          apr_size_t step, apr_pool_t *p)
{
    outcome_t outcome = { 0 };
    apr_size_t at = first < len ? first : len;

    outcome.parser = staple_http_parser_create(&small, p);
    feed_piece(&outcome, bytes, at);
    while (at < len) {
        apr_size_t piece = step < len - at ? step : len - at;

        feed_piece(&outcome, bytes + at, piece);
        at += piece;
    }
    staple_http_close(outcome.parser);
    outcome.fault = staple_http_fault(outcome.parser);
    return outcome;
}

static int are_equal(const outcome_t *a, const outcome_t *b)
{
    const staple_http_response_t *x = staple_http_response(a->parser);
    const staple_http_response_t *y = staple_http_response(b->parser);

    if (a->fault != b->fault || x->status != y->status) {
        return 0;
    }
    return a->fault != STAPLE_HTTP_OK
           || (a->used == b->used && x->body_len == y->body_len
               && (!x->body_len || !memcmp(x->body, y->body, x->body_len)));
}

typedef struct case_t {
    const char *what;
    const char *bytes;
    staple_http_fault_e fault;
    int status;
    const char *body;    /* NULL: none */
    int is_reusable;
    apr_size_t unused;   /* bytes that do not belong to it */
} case_t;

#define OK_LINE "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK_LINE "Transfer-Encoding: chunked\r\n\r\n"
#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define HUNDRED FIFTY FIFTY

static const case_t cases[] = {
    /* bodies */
    { "a length", OK_LINE "Content-Length: 5\r\n\r\nhello", 0, 200, "hello",
      1, 0 },
    { "length 0", OK_LINE "Content-Length: 0\r\n\r\n", 0, 200, NULL, 1, 0 },
    { "any case of names", OK_LINE "cOnTeNt-LeNgTh:5\r\n\r\nhello", 0, 200,
      "hello", 1, 0 },
    { "blanks around a value", OK_LINE "Content-Length: \t 5 \t\r\n\r\nhello",
      0, 200, "hello", 1, 0 },
    { "equal lengths", OK_LINE "Content-Length: 5, 5\r\n"
      "Content-Length: 5\r\n\r\nhello", 0, 200, "hello", 1, 0 },
    { "until the close", OK_LINE "\r\nhello", 0, 200, "hello", 0, 0 },
    { "until the close, empty", OK_LINE "\r\n", 0, 200, NULL, 0, 0 },
    { "one chunk", CHUNKED "5\r\nhello\r\n0\r\n\r\n", 0, 200, "hello", 1, 0 },
    { "three chunks", CHUNKED "2\r\nhe\r\n1\r\nl\r\n002\r\nlo\r\n0\r\n\r\n",
      0, 200, "hello", 1, 0 },
    { "chunk extensions", CHUNKED "5;a=\"b\"\r\nhello\r\n0 ;x\r\n\r\n", 0, 200,
      "hello", 1, 0 },
    { "trailers", CHUNKED "5\r\nhello\r\n0\r\nX: y\r\nContent-Length: 9\r\n"
      "\r\n", 0, 200, "hello", 1, 0 },
    { "hex digits", CHUNKED "A\r\n" TEN "\r\n0b\r\n" TEN "x\r\n0\r\n\r\n", 0,
      200, TEN TEN "x", 1, 0 },
    { "204 has no body", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 0,
      204, NULL, 1, 0 },
    { "304 has no body", "HTTP/1.1 304 Not Modified\r\n"
      "Transfer-Encoding: chunked\r\n\r\n", 0, 304, NULL, 1, 0 },
    { "304 without a length", "HTTP/1.1 304\r\n\r\n", 0, 304, NULL, 1, 0 },
    { "more than announced", OK_LINE "Content-Length: 5\r\n\r\nhelloHTTP", 0,
      200, "hello", 0, 4 },
    { "a full body", OK_LINE "Content-Length: 50\r\n\r\n" FIFTY, 0, 200, FIFTY,
      1, 0 },

    /* versions and connections */
    { "1.0 closes", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 0, 200,
      "x", 0, 0 },
    { "1.0 may stay", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n"
      "Content-Length: 1\r\n\r\nx", 0, 200, "x", 1, 0 },
    { "1.1 may close", OK_LINE "Connection: foo, close\r\n"
      "Content-Length: 1\r\n\r\nx", 0, 200, "x", 0, 0 },
    { "no reason phrase", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 0, 200,
      "x", 1, 0 },
    { "a reason in Latin-1", "HTTP/1.1 200 \xe9\xe8\r\n\r\nx", 0, 200, "x", 0,
      0 },
    { "line feeds alone", "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", 0, 200,
      "x", 1, 0 },
    { "100 is skipped", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n"
      "Content-Length: 9\r\n\r\n" OK_LINE "Content-Length: 1\r\n\r\nx", 0, 200,
      "x", 1, 0 },
    { "an error with a body", "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx",
      0, 404, "x", 1, 0 },

    /* shorter than announced */
    { "nothing", "", STAPLE_HTTP_NO_ANSWER, 0, NULL, 0, 0 },
    { "half a status line", "HTTP/1.1 20", STAPLE_HTTP_TRUNCATED, 0, NULL, 0,
      0 },
    { "no end of headers", OK_LINE "X: y\r\n", STAPLE_HTTP_TRUNCATED, 200,
      NULL, 0, 0 },
    { "100 alone", "HTTP/1.1 100 Continue\r\n\r\n", STAPLE_HTTP_TRUNCATED, 0,
      NULL, 0, 0 },
    { "a short body", OK_LINE "Content-Length: 6\r\n\r\nhello",
      STAPLE_HTTP_TRUNCATED, 200, "hello", 0, 0 },
    { "HEAD-like", OK_LINE "Content-Length: 6\r\n\r\n", STAPLE_HTTP_TRUNCATED,
      200, NULL, 0, 0 },
    { "a short chunk", CHUNKED "6\r\nhello", STAPLE_HTTP_TRUNCATED, 200,
      "hello", 0, 0 },
    { "no last chunk", CHUNKED "5\r\nhello\r\n", STAPLE_HTTP_TRUNCATED, 200,
      "hello", 0, 0 },
    { "no end of trailers", CHUNKED "5\r\nhello\r\n0\r\n",
      STAPLE_HTTP_TRUNCATED, 200, "hello", 0, 0 },

    /* not HTTP */
    { "another protocol", "SSH-2.0-x\r\n", STAPLE_HTTP_NOT_HTTP, 0, NULL, 0,
      0 },
    { "HTML", "<html>", STAPLE_HTTP_NOT_HTTP, 0, NULL, 0, 0 },
    { "TLS", "\x15\x03\x01", STAPLE_HTTP_NOT_HTTP, 0, NULL, 0, 0 },
    { "HTTP/2", "HTTP/2 200\r\n", STAPLE_HTTP_NOT_HTTP, 0, NULL, 0, 0 },
    { "lower case", "http/1.1 200 OK\r\n", STAPLE_HTTP_NOT_HTTP, 0, NULL, 0,
      0 },
    { "an empty line first", "\r\n" OK_LINE, STAPLE_HTTP_NOT_HTTP, 0, NULL, 0,
      0 },
    { "no status", "HTTP/1.1\r\n", STAPLE_HTTP_NOT_HTTP, 0, NULL, 0, 0 },
    { "two blanks", "HTTP/1.1  200 OK\r\n", STAPLE_HTTP_BAD_STATUS, 0, NULL, 0,
      0 },
    { "two digits", "HTTP/1.1 20 OKAY\r\n", STAPLE_HTTP_BAD_STATUS, 0, NULL, 0,
      0 },
    { "four digits", "HTTP/1.1 2000\r\n", STAPLE_HTTP_BAD_STATUS, 0, NULL, 0,
      0 },
    { "status 600", "HTTP/1.1 600 X\r\n", STAPLE_HTTP_BAD_STATUS, 0, NULL, 0,
      0 },
    { "status 099", "HTTP/1.1 099 X\r\n", STAPLE_HTTP_BAD_STATUS, 0, NULL, 0,
      0 },
    { "101", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
      STAPLE_HTTP_BAD_UPGRADE, 101, NULL, 0, 0 },

    /* headers */
    { "a folded field", OK_LINE "X: a\r\n b\r\n\t\r\n"
      "Content-Length:\r\n \t2\r\n\r\nok", STAPLE_HTTP_OK, 200, "ok", 1, 0 },
    { "a folded number", OK_LINE "Content-Length: 1\r\n 0\r\n\r\n",
      STAPLE_HTTP_BAD_LENGTH, 200, NULL, 0, 0 },
    { "a folded name", OK_LINE "Content\r\n -Length: 2\r\n\r\nok",
      STAPLE_HTTP_BAD_HEADER, 200, NULL, 0, 0 },
    { "a folded trailer", CHUNKED "2\r\nok\r\n0\r\nX: y\r\n z\r\n\r\n",
      STAPLE_HTTP_OK, 200, "ok", 1, 0 },
    { "a blank first", OK_LINE "\tX: a\r\n\r\n", STAPLE_HTTP_BLANK_FIRST,
      200, NULL, 0, 0 },
    { "a blank first, folded", OK_LINE " X: a\r\n b\r\n\r\n",
      STAPLE_HTTP_BLANK_FIRST, 200, NULL, 0, 0 },
    { "a blank first in the trailer", CHUNKED "0\r\n X: a\r\n\r\n",
      STAPLE_HTTP_BLANK_FIRST, 200, NULL, 0, 0 },
    { "a blank before the colon", OK_LINE "X : a\r\n\r\n",
      STAPLE_HTTP_BAD_HEADER, 200, NULL, 0, 0 },
    { "no colon", OK_LINE "X\r\n\r\n", STAPLE_HTTP_BAD_HEADER, 200, NULL, 0,
      0 },
    { "no name", OK_LINE ": x\r\n\r\n", STAPLE_HTTP_BAD_HEADER, 200, NULL, 0,
      0 },
    { "no token", OK_LINE "X(y): x\r\n\r\n", STAPLE_HTTP_BAD_HEADER, 200, NULL,
      0, 0 },
    { "a lone CR", OK_LINE "X: a\rb\r\n\r\n", STAPLE_HTTP_BAD_BYTE, 200, NULL,
      0, 0 },
    { "an escape", OK_LINE "X: \x1b[0m\r\n\r\n", STAPLE_HTTP_BAD_BYTE, 200,
      NULL, 0, 0 },
    { "DEL", OK_LINE "X: \x7f\r\n\r\n", STAPLE_HTTP_BAD_BYTE, 200, NULL, 0,
      0 },
    { "a bad trailer", CHUNKED "0\r\nX y\r\n\r\n", STAPLE_HTTP_BAD_HEADER, 200,
      NULL, 0, 0 },

    /* lengths */
    { "two lengths", OK_LINE "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
      STAPLE_HTTP_TWO_LENGTHS, 200, NULL, 0, 0 },
    { "two in a list", OK_LINE "Content-Length: 5, 6\r\n\r\n",
      STAPLE_HTTP_TWO_LENGTHS, 200, NULL, 0, 0 },
    { "length and chunks", OK_LINE "Content-Length: 5\r\n"
      "Transfer-Encoding: chunked\r\n\r\n", STAPLE_HTTP_TWO_LENGTHS, 200, NULL,
      0, 0 },
    { "no number", OK_LINE "Content-Length: x\r\n\r\n", STAPLE_HTTP_BAD_LENGTH,
      200, NULL, 0, 0 },
    { "no length", OK_LINE "Content-Length:\r\n\r\n", STAPLE_HTTP_BAD_LENGTH,
      200, NULL, 0, 0 },
    { "a sign", OK_LINE "Content-Length: +5\r\n\r\n", STAPLE_HTTP_BAD_LENGTH,
      200, NULL, 0, 0 },
    { "negative", OK_LINE "Content-Length: -5\r\n\r\n", STAPLE_HTTP_BAD_LENGTH,
      200, NULL, 0, 0 },
    { "two words", OK_LINE "Content-Length: 5 6\r\n\r\n",
      STAPLE_HTTP_BAD_LENGTH, 200, NULL, 0, 0 },
    { "hex", OK_LINE "Content-Length: 0x5\r\n\r\n", STAPLE_HTTP_BAD_LENGTH,
      200, NULL, 0, 0 },
    { "2^64", OK_LINE "Content-Length: 18446744073709551616\r\n\r\n",
      STAPLE_HTTP_BAD_LENGTH, 200, NULL, 0, 0 },
    { "almost 2^64", OK_LINE "Content-Length: 18446744073709551609\r\n\r\n",
      STAPLE_HTTP_BODY_TOO_LARGE, 200, NULL, 0, 0 },
    { "gzip", OK_LINE "Transfer-Encoding: gzip, chunked\r\n\r\n",
      STAPLE_HTTP_BAD_CODING, 200, NULL, 0, 0 },
    { "chunked twice", OK_LINE "Transfer-Encoding: chunked\r\n"
      "Transfer-Encoding: chunked\r\n\r\n", STAPLE_HTTP_BAD_CODING, 200, NULL,
      0, 0 },
    { "chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      STAPLE_HTTP_BAD_CODING, 200, NULL, 0, 0 },

    /* chunks */
    { "no size", CHUNKED "\r\nhello", STAPLE_HTTP_BAD_CHUNK, 200, NULL, 0, 0 },
    { "a blank before the size", CHUNKED " 5\r\nhello", STAPLE_HTTP_BAD_CHUNK,
      200, NULL, 0, 0 },
    { "a size with a prefix", CHUNKED "0x5\r\nhello", STAPLE_HTTP_BAD_CHUNK,
      200, NULL, 0, 0 },
    { "a size of 2^64", CHUNKED "10000000000000000\r\n", STAPLE_HTTP_BAD_CHUNK,
      200, NULL, 0, 0 },
    { "a size of 2^64 - 1", CHUNKED "ffffffffffffffff\r\n",
      STAPLE_HTTP_BODY_TOO_LARGE, 200, NULL, 0, 0 },
    { "a line feed alone", CHUNKED "5\nhello\r\n", STAPLE_HTTP_BAD_CHUNK, 200,
      NULL, 0, 0 },
    { "a chunk too long", CHUNKED "5\r\nhello!\r\n", STAPLE_HTTP_BAD_CHUNK,
      200, "hello", 0, 0 },
    { "no line end behind it", CHUNKED "5\r\nhello0\r\n",
      STAPLE_HTTP_BAD_CHUNK, 200, "hello", 0, 0 },

    /* limits: 100 bytes a line, 400 in all, 5 headers, 50 of body */
    { "a line just short enough", OK_LINE "X: " FIFTY TEN TEN TEN TEN "1234567"
      "\r\n\r\n", 0, 200, NULL, 0, 0 },
    { "a line too long", OK_LINE "X: " FIFTY TEN TEN TEN TEN "12345678"
      "\r\n\r\n", STAPLE_HTTP_LINE_TOO_LONG, 200, NULL, 0, 0 },
    { "a line without end", OK_LINE "X: " HUNDRED HUNDRED,
      STAPLE_HTTP_LINE_TOO_LONG, 200, NULL, 0, 0 },
    { "a status line without end", "HTTP/1.1 200 " HUNDRED,
      STAPLE_HTTP_LINE_TOO_LONG, 0, NULL, 0, 0 },
    { "a chunk extension without end", CHUNKED "5;" HUNDRED,
      STAPLE_HTTP_LINE_TOO_LONG, 200, NULL, 0, 0 },
    { "many chunk extensions", CHUNKED "1;" FIFTY "\r\nx\r\n1;" FIFTY
      "\r\nx\r\n1;" FIFTY "\r\nx\r\n1;" FIFTY "\r\nx\r\n1;" FIFTY "\r\nx\r\n1;"
      FIFTY "\r\nx\r\n1;" FIFTY "\r\nx\r\n", STAPLE_HTTP_HEAD_TOO_LARGE, 200,
      "xxxxxx", 0, 0 },
    { "too many headers", OK_LINE "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n"
      "F: 6\r\n\r\n", STAPLE_HTTP_TOO_MANY_HEADERS, 200, NULL, 0, 0 },
    { "too many with trailers", CHUNKED "0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n"
      "E: 5\r\n\r\n", STAPLE_HTTP_TOO_MANY_HEADERS, 200, NULL, 0, 0 },
    { "a folded line without end", OK_LINE "X: " FIFTY "\r\n " FIFTY
      "\r\n\r\n", STAPLE_HTTP_LINE_TOO_LONG, 200, NULL, 0, 0 },
    { "folded too often", OK_LINE "X: a\r\n b\r\n c\r\n d\r\n e\r\n f\r\n\r\n",
      STAPLE_HTTP_TOO_MANY_HEADERS, 200, NULL, 0, 0 },
    { "too large a head", OK_LINE "A: " FIFTY TEN TEN TEN TEN "\r\nB: " FIFTY
      TEN TEN TEN TEN "\r\nC: " FIFTY TEN TEN TEN TEN "\r\nD: " FIFTY TEN TEN
      TEN TEN "\r\nE: " FIFTY TEN TEN TEN TEN "\r\n\r\n",
      STAPLE_HTTP_HEAD_TOO_LARGE, 200, NULL, 0, 0 },
    { "interim responses for ever", "HTTP/1.1 100 " FIFTY "\r\n\r\n"
      "HTTP/1.1 100 " FIFTY "\r\n\r\nHTTP/1.1 100 " FIFTY "\r\n\r\n"
      "HTTP/1.1 100 " FIFTY "\r\n\r\nHTTP/1.1 100 " FIFTY "\r\n\r\n"
      "HTTP/1.1 100 " FIFTY "\r\n\r\n", STAPLE_HTTP_HEAD_TOO_LARGE, 100,
      NULL, 0, 0 },
    { "too large a body", OK_LINE "Content-Length: 51\r\n\r\n",
      STAPLE_HTTP_BODY_TOO_LARGE, 200, NULL, 0, 0 },
    { "too large a rest", OK_LINE "\r\n" FIFTY "!", STAPLE_HTTP_BODY_TOO_LARGE,
      200, NULL, 0, 0 },
    { "too large in chunks", CHUNKED "32\r\n" FIFTY "\r\n1\r\nx",
      STAPLE_HTTP_BODY_TOO_LARGE, 200, FIFTY, 0, 0 }
};

static void test_case(const case_t *one)
{
    apr_size_t len = strlen(one->bytes);
    apr_pool_t *p;
    outcome_t whole;
    const staple_http_response_t *response;
    apr_size_t body_len = one->body ? strlen(one->body) : 0;
    apr_size_t cut;
    int bad = 0;

    apr_pool_create(&p, pool);
    whole = feed_cut(one->bytes, len, len, 1, p);
    response = staple_http_response(whole.parser);
    if (!ok(whole.fault == one->fault && response->status == one->status,
            "%s", one->what)) {
        diag("status %d, the answer %s", response->status,
             staple_http_fault_text(whole.fault));
    }
    if (one->fault == STAPLE_HTTP_OK) {
        ok(response->body_len == body_len
           && (!body_len || !memcmp(response->body, one->body, body_len))
           && response->is_reusable == one->is_reusable
           && whole.used == len - one->unused, "... its body and framing");
    }
    for (cut = 0; cut <= len; cut++) {
        outcome_t in_two = feed_cut(one->bytes, len, cut, len, p);
        outcome_t in_bytes = feed_cut(one->bytes, len, cut, 1, p);

        bad += !are_equal(&whole, &in_two) + !are_equal(&whole, &in_bytes);
        if (bad == 1) {
            diag("differs when cut at %lu", (unsigned long)cut);
        }
    }
    ok(!bad, "... however it is cut");
    apr_pool_destroy(p);
}

/* A NUL cannot be in the table. */
static void test_nul(void)
{
    static const char bytes[] = "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n";
    outcome_t outcome = feed_cut(bytes, sizeof(bytes) - 1, 1, 7, pool);

    is_int(outcome.fault, STAPLE_HTTP_BAD_BYTE, "a NUL in a header");
}

/* A body whose length is not announced may be known to end. */
static void test_rest_cut(void)
{
    staple_http_parser_t *parser = staple_http_parser_create(&small, pool);
    const staple_http_response_t *response = staple_http_response(parser);
    apr_size_t used;

    is_int(staple_http_cut(parser, 0), STAPLE_HTTP_AT_STATUS,
           "there is no body that can be cut");
    staple_http_feed(parser, OK_LINE "\r\nokay", sizeof(OK_LINE "\r\nokay") - 1,
                     &used);
    is_int(staple_http_cut(parser, 2), STAPLE_HTTP_AT_END, "a rest is cut");
    ok(response->body_len == 2 && !memcmp(response->body, "ok", 2)
       && !response->is_reusable, "... where it ends");
    is_int(staple_http_cut(parser, 1), STAPLE_HTTP_AT_END, "... once");
    ok(response->body_len == 2, "... and for all");
}

/* ---- what header fields mean ---- */

static const staple_http_response_t *response_with(const char *fields)
{
    const char *bytes = apr_pstrcat(pool, OK_LINE, fields, "\r\n", NULL);
    staple_http_limits_t limits = staple_http_limits(1000);
    staple_http_parser_t *parser = staple_http_parser_create(&limits, pool);
    apr_size_t used;

    staple_http_feed(parser, bytes, strlen(bytes), &used);
    return staple_http_response(parser);
}

/* 06 Nov 1994 08:49:37 */
#define NOW apr_time_from_sec(784111777)

static void test_retry_after(void)
{
    static const struct {
        const char *fields;
        apr_int64_t seconds;
    } cases_of[] = {
        { "", -1 },
        { "Retry-After: 120\r\n", 120 },
        { "Retry-After: 0\r\n", 0 },
        { "Retry-After: soon\r\n", -1 },
        { "Retry-After: -5\r\n", -1 },
        { "Retry-After: 1.5\r\n", -1 },
        { "Retry-After: 99999999999999999999999\r\n", 2147483647 },
        { "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n", 60 },
        { "Retry-After: Sunday, 06-Nov-94 08:50:37 GMT\r\n", 60 },
        { "Retry-After: Sun Nov  6 08:50:37 1994\r\n", 60 },
        { "Retry-After: Sun, 06 Nov 1994 08:48:37 GMT\r\n", 0 },
        { "Retry-After: Sun, 99 Nov 1994 08:48:37 GMT\r\n", -1 }
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases_of) / sizeof(cases_of[0]); i++) {
        apr_interval_time_t span
            = staple_http_retry_after(response_with(cases_of[i].fields), NOW);

        is_int(span < 0 ? span : apr_time_sec(span), cases_of[i].seconds,
               apr_psprintf(pool, "retry: %.*s",
                            (int)strcspn(cases_of[i].fields, "\r"),
                            cases_of[i].fields));
    }
}

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define IN_AN_HOUR "Expires: Sun, 06 Nov 1994 09:49:37 GMT\r\n"

static void test_freshness(void)
{
    static const struct {
        const char *what;
        const char *fields;
        apr_int64_t seconds;
    } cases_of[] = {
        { "nothing", DATE, -1 },
        { "max-age", "Cache-Control: max-age=3600\r\n", 3600 },
        { "max-age among others", "Cache-Control: public, max-age=3600, "
          "must-revalidate\r\n", 3600 },
        { "any case, quoted", "cache-control: Max-Age=\"3600\",x\r\n", 3600 },
        { "max-age on a folded line", "Cache-Control: public,\r\n"
          "\tmax-age=60\r\n", 60 },
        { "the shorter of two", "Cache-Control: max-age=60\r\n"
          "Cache-Control: max-age=3600\r\n", 60 },
        { "max-age that is none", "Cache-Control: max-age=x\r\n", 0 },
        { "max-age without a value", "Cache-Control: max-age\r\n", 0 },
        { "not s-maxage", "Cache-Control: s-maxage=5\r\n", -1 },
        { "too large", "Cache-Control: max-age=99999999999999\r\n",
          2147483647 },
        { "no-cache", "Cache-Control: max-age=60, no-cache\r\n", 0 },
        { "no-store", "Cache-Control: no-store\r\n" IN_AN_HOUR, 0 },
        { "an odd list", "Cache-Control: ,=,\"\",max-age=60\r\n", 60 },
        { "Age", "Cache-Control: max-age=3600\r\nAge: 600\r\n", 3000 },
        { "more Age", "Cache-Control: max-age=3600\r\nAge: 6000\r\n", 0 },
        { "Age that is none", "Cache-Control: max-age=3600\r\nAge: -1\r\n",
          3600 },
        { "an older Date", "Cache-Control: max-age=3600\r\n"
          "Date: Sun, 06 Nov 1994 08:39:37 GMT\r\n", 3000 },
        { "Expires", IN_AN_HOUR, 3600 },
        { "Expires less Date", IN_AN_HOUR DATE, 3600 },
        { "Expires less Age", IN_AN_HOUR DATE "Age: 600\r\n", 3000 },
        { "max-age beats Expires", IN_AN_HOUR "Cache-Control: max-age=60\r\n",
          60 },
        { "Expires: 0", "Expires: 0\r\n", 0 },
        { "Expires past", DATE "Expires: Sun, 06 Nov 1994 07:49:37 GMT\r\n",
          0 }
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases_of) / sizeof(cases_of[0]); i++) {
        apr_interval_time_t span
            = staple_http_fresh_for(response_with(cases_of[i].fields), NOW);

        is_int(span < 0 ? span : apr_time_sec(span), cases_of[i].seconds,
               apr_psprintf(pool, "fresh: %s", cases_of[i].what));
    }
}

static void test_fields(void)
{
    const staple_http_response_t *response;

    response = response_with("ETag: W/\"a b\"\r\n");
    is_str(response->etag, NULL, "an etag with a blank is none");
    response = response_with("ETag: W/\"a-b\"\r\n"
        "Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT\r\n"
        "Location: /x\r\nLocation: /y\r\n"
        "Content-Type: Application/OCSP-Response; x=y\r\n");
    is_str(response->etag, "W/\"a-b\"", "a weak etag");
    is_str(response->last_modified, "Sun, 06 Nov 1994 08:49:37 GMT",
           "a date of old form, as it is written today");
    is_str(response->location, "/x", "the first Location");
    ok(response->is_typed, "the type, with a parameter");
    response = response_with("ETag: \"a\"b\"\r\nLast-Modified: x\r\n"
        "Location: /x y\r\nContent-Type: text/html\r\n");
    is_str(response->etag, NULL, "an etag with a quote inside is none");
    is_str(response->last_modified, NULL, "nor is x a date");
    is_str(response->location, NULL, "nor a Location with a blank");
    ok(!response->is_typed, "another type");
}

/* ---- bytes as text, and addresses ---- */

static void test_bytes_as_text(void)
{
    static const unsigned char bytes[] = { 0x0a, 0xff, 0x00 };

    is_str(staple_text_printable("a\r\n\x1b[1m\\\xff", 9, 100, pool),
           "a\\x0d\\x0a\\x1b[1m\\\\xff", "text for a log");
    is_str(staple_text_name("a\",\"\\\n\xc3\xa4'", 9, 100, pool),
           "a%22,%22%5C%0A%C3%A4'", "a name for a log that is JSON");
    is_str(staple_text_printable("abcdef", 6, 3, pool), "abc...",
           "... of limited length");
    is_str(staple_text_string("a\tb\x7f", pool), "a b\\x7f",
           "a string; a tab is a blank");
    is_str(staple_text_hex(bytes, 3, pool), "0AFF00", "hexadecimal");
    is_str(staple_text_hex(bytes, 0, pool), "", "... of nothing");
    is_str(staple_text_fingerprint(bytes, 3, pool), "0A:FF:00",
           "... as a fingerprint");
}

static void test_addresses(void)
{
    static const struct {
        const char *text;
        int bits;
        const char *normal;
    } cases_of[] = {
        { "192.0.2.1", 32, "192.0.2.1" },
        { "::ffff:192.0.2.1", 128, "192.0.2.1" },
        { "2001:DB8:0::1", 128, "2001:db8::1" },
        { "127.1", 0, NULL }, { "0x7f000001", 0, NULL }, { "", 0, NULL },
        { "fe80::1%lo", 0, NULL }, { "[::1]", 0, NULL },
        { "192.0.2.1 ", 0, NULL }
    };
    unsigned char bytes[STAPLE_ADDRESS_LEN];
    size_t i;

    for (i = 0; i < sizeof(cases_of) / sizeof(cases_of[0]); i++) {
        ok(staple_address_read(bytes, cases_of[i].text) == cases_of[i].bits,
           "address '%s'", cases_of[i].text);
        if (cases_of[i].normal) {
            is_str(staple_address_text(bytes, pool), cases_of[i].normal,
                   "... as text");
        }
    }
}

/* ---- URLs ---- */

static void test_urls(void)
{
    static const struct {
        const char *text;
        staple_url_e reason;
        const char *normal; /* host, port and text */
    } cases_of[] = {
        { "http://ocsp.example", 0, "ocsp.example 80 http://ocsp.example/" },
        { "HTTP://OCSP.Example/", 0, "ocsp.example 80 http://ocsp.example/" },
        { "http://h:80/x", 0, "h 80 http://h/x" },
        { "http://h:8080/x", 0, "h 8080 http://h:8080/x" },
        { "http://h:/x", 0, "h 80 http://h/x" },
        { "http://h?q=1", 0, "h 80 http://h/?q=1" },
        { "http://h/?", 0, "h 80 http://h/?" },
        { "http://h/a?q=/?#f", 0, "h 80 http://h/a?q=/?" },
        { "http://h#f", 0, "h 80 http://h/" },
        { "http://h./", 0, "h 80 http://h/" },
        { "http://u:p@h/x", 0, "h 80 http://h/x" },
        { "http://@h/x", 0, "h 80 http://h/x" },
        { "http://h/a@b:c", 0, "h 80 http://h/a@b:c" },
        { "http://h/./a/../b/..", 0, "h 80 http://h/" },
        { "http://h/../../a/.", 0, "h 80 http://h/a/" },
        { "http://h/a//b/...", 0, "h 80 http://h/a//b/..." },
        { "http://h/%2F%0d", 0, "h 80 http://h/%2F%0d" },
        { "http://a_b.c-d.1e/", 0, "a_b.c-d.1e 80 http://a_b.c-d.1e/" },
        { "http://192.0.2.1/", 0, "192.0.2.1 80 http://192.0.2.1/" },
        { "http://[2001:DB8:0::1]:81/", 0,
          "2001:db8::1 81 http://[2001:db8::1]:81/" },
        { "http://[::ffff:127.0.0.1]/", 0,
          "::ffff:127.0.0.1 80 http://[::ffff:127.0.0.1]/" },

        { "", STAPLE_URL_BAD_SCHEME, NULL },
        { "https://h/", STAPLE_URL_BAD_SCHEME, NULL },
        { "ldap://h/cn=x", STAPLE_URL_BAD_SCHEME, NULL },
        { "http:/h/", STAPLE_URL_BAD_SCHEME, NULL },
        { "//h/", STAPLE_URL_BAD_SCHEME, NULL },
        { "h/", STAPLE_URL_BAD_SCHEME, NULL },
        { " http://h/", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/a b", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/\r\nX: y", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/\t", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/\x7f", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/\xc3\xa9", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h\\@x/", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/%", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/%2", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/%zz", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/[x]", STAPLE_URL_BAD_BYTE, NULL },
        { "http://h/?<x>", STAPLE_URL_BAD_BYTE, NULL },
        { "http://", STAPLE_URL_BAD_HOST, NULL },
        { "http:///x", STAPLE_URL_BAD_HOST, NULL },
        { "http://:80/", STAPLE_URL_BAD_HOST, NULL },
        { "http://u@/", STAPLE_URL_BAD_HOST, NULL },
        { "http://a@b@c/", STAPLE_URL_BAD_HOST, NULL },
        { "http://a..b/", STAPLE_URL_BAD_HOST, NULL },
        { "http://.a/", STAPLE_URL_BAD_HOST, NULL },
        { "http://a../", STAPLE_URL_BAD_HOST, NULL },
        { "http://a%2eb/", STAPLE_URL_BAD_HOST, NULL },
        { "http://a!b/", STAPLE_URL_BAD_HOST, NULL },
        { "http://" FIFTY TEN "1234.com/", STAPLE_URL_BAD_HOST, NULL },
        { "http://127.1/", STAPLE_URL_BAD_HOST, NULL },
        { "http://2130706433/", STAPLE_URL_BAD_HOST, NULL },
        { "http://0x7f000001/", STAPLE_URL_BAD_HOST, NULL },
        { "http://127.0.0.0x1/", STAPLE_URL_BAD_HOST, NULL },
        { "http://0177.0.0.1/", STAPLE_URL_BAD_HOST, NULL },
        { "http://1.2.3.256/", STAPLE_URL_BAD_HOST, NULL },
        { "http://::1/", STAPLE_URL_BAD_HOST, NULL },
        { "http://[::1/", STAPLE_URL_BAD_HOST, NULL },
        { "http://[::1]x/", STAPLE_URL_BAD_HOST, NULL },
        { "http://[]/", STAPLE_URL_BAD_HOST, NULL },
        { "http://[fe80::1%25eth0]/", STAPLE_URL_BAD_HOST, NULL },
        { "http://[127.0.0.1]/", STAPLE_URL_BAD_HOST, NULL },
        { "http://h:0/", STAPLE_URL_BAD_PORT, NULL },
        { "http://h:65536/", STAPLE_URL_BAD_PORT, NULL },
        { "http://h:99999999999/", STAPLE_URL_BAD_PORT, NULL },
        { "http://h:8a/", STAPLE_URL_BAD_PORT, NULL },
        { "http://h:80:80/", STAPLE_URL_BAD_PORT, NULL },
        { "http://h:+80/", STAPLE_URL_BAD_PORT, NULL }
    };
    apr_size_t i;
    char *much = apr_palloc(pool, 3000);

    for (i = 0; i < sizeof(cases_of) / sizeof(cases_of[0]); i++) {
        apr_size_t size = strlen(cases_of[i].text) + 1;
        const char *text = at_guard(cases_of[i].text, size);
        const char *shown = staple_text_printable(text, size - 1, 100, pool);
        staple_url_t url;
        staple_url_e reason = staple_url_parse(&url, text, pool);

        if (!ok(reason == cases_of[i].reason, "URL %s", shown)) {
            diag("it %s", staple_url_text(reason));
        }
        else if (reason == STAPLE_URL_OK) {
            is_str(apr_psprintf(pool, "%s %u %s", url.host, url.port,
                                url.text), cases_of[i].normal, "... normal");
        }
    }
    memset(much, 'a', 2999);
    much[2999] = '\0';
    {
        staple_url_t url;

        is_int(staple_url_parse(&url, apr_pstrcat(pool, "http://h/", much,
                                                  NULL), pool),
               STAPLE_URL_TOO_LONG, "a URL that is too long");
    }
}

static void test_references(void)
{
    static const struct {
        const char *reference;
        staple_url_e reason;
        const char *text;
    } cases_of[] = {
        { "http://o/x", 0, "http://o/x" },
        { "HTTP://O/x", 0, "http://o/x" },
        { "//o:81/x", 0, "http://o:81/x" },
        { "/x", 0, "http://h:8080/x" },
        { "x?y", 0, "http://h:8080/a/x?y" },
        { "../x", 0, "http://h:8080/x" },
        { "?y", 0, "http://h:8080/a/b?y" },
        { "", 0, "http://h:8080/a/b?q" },
        { "#f", 0, "http://h:8080/a/b?q" },
        { "./c:d", 0, "http://h:8080/a/c:d" },
        { "https://o/x", STAPLE_URL_BAD_SCHEME, NULL },
        { "javascript:alert(1)", STAPLE_URL_BAD_SCHEME, NULL },
        { "c:d", STAPLE_URL_BAD_SCHEME, NULL },
        { "/x\r\ny", STAPLE_URL_BAD_BYTE, NULL },
        { "//", STAPLE_URL_BAD_HOST, NULL }
    };
    staple_url_t base;
    apr_size_t i;

    staple_url_parse(&base, "http://h:8080/a/b?q", pool);
    for (i = 0; i < sizeof(cases_of) / sizeof(cases_of[0]); i++) {
        staple_url_t url = base;
        staple_url_e reason;

        reason = staple_url_resolve(&url, &base, cases_of[i].reference,
                                    pool);
        ok(reason == cases_of[i].reason
           && (reason || !strcmp(url.text, cases_of[i].text)),
           "reference %s", staple_text_printable(cases_of[i].reference,
               strlen(cases_of[i].reference), 50, pool));
    }
}

/* ---- requests ---- */

static void test_get_urls(void)
{
    static const unsigned char der[] = { 0xfb, 0xff, 0xfe, 0x00 };
    static const struct {
        const char *responder;
        const char *text;
    } cases_of[] = {
        { "http://h", "http://h/%2B%2F%2F%2BAA%3D%3D" },
        { "http://h/", "http://h/%2B%2F%2F%2BAA%3D%3D" },
        { "http://h/ca", "http://h/ca/%2B%2F%2F%2BAA%3D%3D" },
        { "http://h/ca/", "http://h/ca/%2B%2F%2F%2BAA%3D%3D" },
        { "http://h/ca?q=1", "http://h/ca/%2B%2F%2F%2BAA%3D%3D?q=1" }
    };
    staple_url_t url, responder;
    unsigned char much[300] = { 0 };
    char *path;
    apr_size_t i;

    for (i = 0; i < sizeof(cases_of) / sizeof(cases_of[0]); i++) {
        staple_url_parse(&responder, cases_of[i].responder, pool);
        staple_url_for_get(&url, &responder, der, sizeof(der), pool);
        is_str(url.text, cases_of[i].text, cases_of[i].responder);
    }
    /* 9 + path + 1 + 4 bytes */
    path = apr_palloc(pool, 300);
    memset(path, 'a', 300);
    path[241] = '\0';
    staple_url_parse(&responder, apr_pstrcat(pool, "http://h/", path,
                                             NULL), pool);
    ok(staple_url_for_get(&url, &responder, much, 3, pool)
       && strlen(url.text) == 255, "a URL of 255 bytes is asked with GET");
    path[241] = 'a';
    path[242] = '\0';
    staple_url_parse(&responder, apr_pstrcat(pool, "http://h/", path,
                                             NULL), pool);
    ok(!staple_url_for_get(&url, &responder, much, 3, pool),
       "one of 256 is not");
    ok(!staple_url_for_get(&url, &responder, much, sizeof(much), pool),
       "nor is a large request");
}

static void test_requests(void)
{
    staple_url_t url;
    staple_http_ask_t ask = { 0 };
    const char *bytes;
    apr_size_t len;

    staple_url_parse(&url, "http://u:p@[2001:db8::1]:81/x?y", pool);
    bytes = staple_http_request(&url, &ask, &len, pool);
    is_str(apr_pstrmemdup(pool, bytes, len),
           "GET /x?y HTTP/1.1\r\n"
           "Host: [2001:db8::1]:81\r\n"
           "Accept: application/ocsp-response\r\n"
           "Connection: keep-alive\r\n\r\n", "GET");
    ask.user_agent = "mod_staple/1";
    ask.if_none_match = "\"x\"";
    ask.if_modified_since = "today\r\nX: y";
    ask.is_proxied = 1;
    bytes = staple_http_request(&url, &ask, &len, pool);
    is_str(apr_pstrmemdup(pool, bytes, len),
           "GET http://[2001:db8::1]:81/x?y HTTP/1.1\r\n"
           "Host: [2001:db8::1]:81\r\n"
           "User-Agent: mod_staple/1\r\n"
           "Accept: application/ocsp-response\r\n"
           "Connection: keep-alive\r\n"
           "If-None-Match: \"x\"\r\n\r\n",
           "GET through a proxy, without a field that breaks out of its line");
    ask.proxy_credentials = "dTpw";
    ask.is_past_caches = 1;
    bytes = staple_http_request(&url, &ask, &len, pool);
    ok(strstr(bytes, "\r\nProxy-Authorization: Basic dTpw\r\n") != NULL,
       "the proxy is told who asks");
    ok(strstr(bytes, "\r\nCache-Control: no-cache\r\n") != NULL,
       "... and that its cache is not to answer");
    ask.is_past_caches = 0;
    ask.body = (const unsigned char *)"d\0r";
    ask.body_len = 3;
    ask.is_proxied = 0;
    ask.if_none_match = ask.if_modified_since = ask.user_agent = NULL;
    bytes = staple_http_request(&url, &ask, &len, pool);
    is_str(apr_pstrmemdup(pool, bytes, len - 3),
           "POST /x?y HTTP/1.1\r\n"
           "Host: [2001:db8::1]:81\r\n"
           "Accept: application/ocsp-response\r\n"
           "Connection: keep-alive\r\n"
           "Content-Type: application/ocsp-request\r\n"
           "Content-Length: 3\r\n\r\n", "POST");
    ok(!memcmp(bytes + len - 3, "d\0r", 3), "... and its body");
}

/* Every value of an enum has its own words. */
static void test_texts(void)
{
    staple_http_fault_e fault;
    staple_http_state_e state;
    staple_url_e reason;
    int same = 0;

    for (fault = STAPLE_HTTP_OK; fault < STAPLE_HTTP_BAD_CHUNK; fault++) {
        same += !strcmp(staple_http_fault_text(fault),
                        staple_http_fault_text(fault + 1));
    }
    for (state = STAPLE_HTTP_AT_STATUS; state < STAPLE_HTTP_AT_FAULT;
         state++) {
        same += !strcmp(staple_http_state_text(state),
                        staple_http_state_text(state + 1));
    }
    for (reason = STAPLE_URL_OK; reason < STAPLE_URL_BAD_PORT;
         reason++) {
        same += !strcmp(staple_url_text(reason),
                        staple_url_text(reason + 1));
    }
    is_int(same, 0, "no two texts are the same");
}

/* make check says where the sources are. */
static void replay_seeds(void)
{
    const char *srcdir = getenv("STAPLE_SRCDIR");
    const char *path = apr_pstrcat(pool, srcdir ? srcdir : ".",
                                   "/t/fuzz/corpus/http", NULL);
    DIR *dir = opendir(path);
    struct dirent *entry;
    int count = 0;

    if (!dir) {
        ok(!srcdir, "the fuzzer's corpus at %s%s", path,
           srcdir ? "" : " # SKIP STAPLE_SRCDIR is not set");
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        FILE *file = fopen(apr_pstrcat(pool, path, "/", entry->d_name, NULL),
                           "rb");
        unsigned char bytes[4096];

        if (file && *entry->d_name != '.') {
            LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, sizeof(bytes), file));
            count++;
        }
        if (file) {
            fclose(file);
        }
    }
    closedir(dir);
    ok(count > 0, "%d seeds of the fuzzer", count);
}

int main(void)
{
    apr_size_t i;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    map_pages();

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        test_case(&cases[i]);
    }
    test_nul();
    test_rest_cut();
    test_retry_after();
    test_freshness();
    test_fields();
    test_urls();
    test_references();
    test_get_urls();
    test_requests();
    test_bytes_as_text();
    test_addresses();
    test_texts();
    replay_seeds();

    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
