/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a server is asked: the bytes, the validators, the method, and where
 * the next question goes when an answer was no help.
 */

#include "fetch_test.h"

#include "../tap.h"

#include <string.h>

#include <apr_strings.h>

/* The bytes that a server gets. */
void test_requests(void)
{
    server_t server = { .manner = ANSWER };
    char *url, *long_url;
    const char *urls[1];
    staple_fetch_job_t job;
    result_t result;

    start(&server);
    fetch_url(apr_psprintf(pool, "http://user:secret@127.0.0.1:%d/ca?q=1",
                           server.port), AMPLE);
    is_str(server.last, apr_psprintf(pool,
           "GET /ca/MAMK%%2F%%2F4%%3D?q=1 HTTP/1.1\r\n"
           "Host: 127.0.0.1:%d\r\n"
           "User-Agent: test/1\r\n"
           "Accept: application/ocsp-response\r\n"
           "Connection: keep-alive\r\n\r\n", server.port), "GET");

    url = apr_pstrcat(pool, url_of(server.port, "/"), NULL);
    long_url = apr_palloc(pool, 300);
    memset(long_url, 'a', 299);
    long_url[299] = '\0';
    fetch_url(apr_pstrcat(pool, url, long_url, NULL), AMPLE);
    ok(!strncmp(server.last, "POST /aaa", 9), "POST when the URL is long");
    ok(strstr(server.last, "\r\nContent-Type: application/ocsp-request\r\n"
                           "Content-Length: 5\r\n\r\n\x30\x03\x0a\xff\xfe")
       != NULL,
       "... with type, length and body");

    urls[0] = "http://ocsp.example/x";
    job = job_for(urls, 1, NULL);
    job.proxy = apr_psprintf(pool, "http://127.0.0.1:%d", server.port);
    result = fetch_once(&job);
    is_int(result.outcome, STAPLE_FETCH_OK, "through a proxy");
    ok(!strncmp(server.last, "GET http://ocsp.example/x/MAMK%2F%2F4%3D "
                             "HTTP/1.1\r\nHost: ocsp.example\r\n", 66),
       "... the absolute form, the host's own name");
    stop(&server);
}

void test_validators(void)
{
    server_t server = { .status = 304, .fields = "ETag: \"x1\"\r\n"
                        "Cache-Control: max-age=60\r\nAge: 20\r\n" };
    const char *url;
    staple_fetch_job_t job;
    result_t result;

    start(&server);
    url = url_of(server.port, "/");
    job = job_for(&url, 1, NULL);
    job.if_none_match = "\"x0\"";
    job.if_modified_since = "Sun, 06 Nov 1994 08:49:37 GMT";
    result = fetch_once(&job);
    is_int(result.outcome, STAPLE_FETCH_NOT_MODIFIED, "304, asked for");
    ok(strstr(server.last, "If-None-Match: \"x0\"\r\n"
              "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n") != NULL,
       "the validators are sent");
    is_str(result.etag, "\"x1\"", "the new one is handed up");
    is_int(result.fresh_for, 40 * SECOND, "freshness is handed up, less Age");
    stop(&server);

    server.status = 503;
    server.fields = "Retry-After: 7\r\n";
    start(&server);
    result = fetch_url(url_of(server.port, "/"), AMPLE);
    ok(result.retry_after > 0 && result.retry_after <= 7 * SECOND,
       "Retry-After is handed up");
    is_int(result.http_status, 503, "... with the status");
    stop(&server);
}

/* GET, then POST where that may help; what worked is done first next time. */
void test_methods(void)
{
    static const int cures[] = { 400, 403, 404, 405, 414, 501 };
    apr_size_t i;

    for (i = 0; i <= sizeof(cures) / sizeof(cures[0]); i++) {
        int is_judged = i == sizeof(cures) / sizeof(cures[0]);
        server_t server = { .get_status = is_judged ? 200 : cures[i],
                            .get_body = "bad" };
        staple_fetch_t *fetch = engine(2, NULL);
        result_t first = { 0 }, second = { 0 };

        start(&server);
        submit(fetch, url_of(server.port, "/"), &first, AMPLE);
        run(fetch);
        submit(fetch, url_of(server.port, "/"), &second, AMPLE);
        run(fetch);
        ok(first.outcome == STAPLE_FETCH_OK && second.outcome == STAPLE_FETCH_OK
           && server.requests == 3 && server.gets == 1,
           "POST after GET that got %s, and from then on",
           is_judged ? "a bad answer" : apr_itoa(pool, cures[i]));
        staple_fetch_destroy(fetch);
        stop(&server);
    }
    {
        server_t server = { .get_status = 500 };
        result_t result;

        start(&server);
        result = fetch_url(url_of(server.port, "/"), AMPLE);
        ok(result.http_status == 500 && server.requests == 1,
           "no POST after 500");
        stop(&server);
    }
}

/* What has expired may come from a cache, which is told once to ask, and may
 * not obey; with POST it has nothing to say. */
void test_cached(void)
{
    server_t server = { .cached = "stale" };
    server_t first = { .body = "stale" };
    server_t second = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t result = { 0 };
    int i;

    start(&server);
    for (i = 0; i < 2; i++) {
        submit(fetch, url_of(server.port, "/"), &result, AMPLE);
        run(fetch);
        is_int(result.outcome, STAPLE_FETCH_OK,
               "a stale answer of a cache: the responder is asked");
        ok(server.requests == 2 * (i + 1) && server.gets == server.requests,
           "... by one more GET, and not with the first one");
    }
    server.get_body = "stale";
    server.requests = server.gets = 0;
    submit(fetch, url_of(server.port, "/"), &result, AMPLE);
    run(fetch);
    ok(result.outcome == STAPLE_FETCH_OK && server.requests == 3
       && server.gets == 2, "a cache that does not obey: then by POST");
    staple_fetch_destroy(fetch);

    server.body = "stale";
    server.requests = server.gets = 0;
    result = fetch_url(url_of(server.port, "/"), AMPLE);
    ok(result.outcome == STAPLE_FETCH_REJECTED && server.requests == 3
       && server.gets == 2, "the responder's own is stale: no fourth question");
    stop(&server);

    start(&second);
    if (!start_at(&first, "127.0.0.2", second.port)) {
        ok(1, "# SKIP no 127.0.0.2 here");
        stop(&second);
        return;
    }
    result = fetch_url(apr_psprintf(pool, "http://eyes.test:%d/", second.port),
                       AMPLE);
    ok(result.outcome == STAPLE_FETCH_OK && first.requests == 2
       && second.requests == 1, "... and then another address");
    stop(&first);
    stop(&second);
}

void test_redirect(void)
{
    server_t target = { .manner = ANSWER };
    server_t server = { .status = 301 };
    result_t result;

    start(&target);
    server.fields = apr_psprintf(pool, "Location: http://127.0.0.1:%d/there?a"
                                 "\r\n", target.port);
    start(&server);
    result = fetch_url(url_of(server.port, "/"), AMPLE);
    is_int(result.outcome, STAPLE_FETCH_OK, "a redirect is followed");
    ok(!strncmp(target.last, "GET /there?a HTTP/1.1\r\n", 23),
       "... to just where it points");
    stop(&server);
    stop(&target);
}

void test_failover(void)
{
    server_t good = { .manner = ANSWER };
    server_t bad = { .status = 500 };
    const char *urls[4];
    staple_fetch_job_t job;
    result_t result;

    start(&good);
    start(&bad);
    urls[0] = url_of(bad.port, "/");
    urls[1] = "ldap://127.0.0.1/";
    urls[2] = url_of(good.port, "/");
    urls[3] = url_of(bad.port, "/other");
    job = job_for(urls, 4, NULL);
    result = fetch_once(&job);
    ok(result.outcome == STAPLE_FETCH_OK && result.url_index == 2,
       "the third URL answers");
    job.first_url = 3;
    bad.requests = 0;
    result = fetch_once(&job);
    ok(result.outcome == STAPLE_FETCH_OK && bad.requests == 2,
       "from the last URL on, around to the first ones");
    job.first_url = 2;
    bad.requests = 0;
    result = fetch_once(&job);
    ok(result.outcome == STAPLE_FETCH_OK && !bad.requests,
       "from the one that works");
    job.urls_count = 2;
    job.first_url = 0;
    result = fetch_once(&job);
    ok(result.outcome == STAPLE_FETCH_HTTP_STATUS && result.url_index == 0,
       "a URL that cannot be asked does not hide the real failure");
    stop(&good);
    stop(&bad);
}
