/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Every outcome has its reason: each way to fail, an address that cannot be
 * reached, and where an exchange spent its time.
 */

#include "fetch_test.h"

#include "../tap.h"

#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

/* Each way to fail has its outcome, and a reason that tells where to look. */
void test_outcomes(void)
{
    static const struct {
        server_t server;
        staple_fetch_outcome_e outcome;
        const char *reason; /* a part of it */
        apr_interval_time_t timeout;
        const char *what;
    } cases[] = {
        { { .manner = ANSWER }, STAPLE_FETCH_OK, "answered", 0, "an answer" },
        { { .fields = "Connection: close\r\n" }, STAPLE_FETCH_OK, "", 0,
          "an answer of a server that closes" },
        { { .delay_ms = 50 }, STAPLE_FETCH_OK, "", 0, "a slow answer" },
        { { .manner = SILENT }, STAPLE_FETCH_TIMEOUT,
          "(0 bytes came)", 2 * SECOND, "silence" },
        { { .manner = DRIP }, STAPLE_FETCH_TIMEOUT, "no whole answer",
          2 * SECOND, "dripping" },
        { { .manner = RESET }, STAPLE_FETCH_RESET, "broke", 0, "a reset" },
        { { .manner = HANGUP }, STAPLE_FETCH_RESET, "without an answer", 0,
          "a close without an answer" },
        { { .manner = GARBAGE }, STAPLE_FETCH_NOT_HTTP, "is not HTTP", 0,
          "another protocol" },
        { { .fields = "X: a\r\n b\r\n" }, STAPLE_FETCH_OK, "", 0,
          "a folded header" },
        { { .manner = SHORT }, STAPLE_FETCH_TRUNCATED, "shorter", 0,
          "a body that is cut short" },
        { { .manner = HUGE }, STAPLE_FETCH_TOO_LARGE, "too large", 0,
          "a body that is too large" },
        { { .status = 500 }, STAPLE_FETCH_HTTP_STATUS, "status 500", 0,
          "HTTP 500" },
        { { .status = 404 }, STAPLE_FETCH_HTTP_STATUS, "404 to POST", 0,
          "HTTP 404 to both methods" },
        { { .status = 304 }, STAPLE_FETCH_HTTP_STATUS, "304", 0,
          "HTTP 304 that nobody asked for" },
        { { .status = 302 }, STAPLE_FETCH_HTTP_STATUS, "302", 0,
          "a redirect to nowhere" },
        { { .status = 302, .fields = "Location: https://127.0.0.1/\r\n" },
          STAPLE_FETCH_BAD_REDIRECT, "does not begin with http://", 0,
          "a redirect to https" },
        { { .status = 302, .fields = "Location: /again\r\n" },
          STAPLE_FETCH_BAD_REDIRECT, "more than 3 times", 0,
          "a redirect in a circle" },
        { { .body = "bad" }, STAPLE_FETCH_REJECTED, "not accepted", 0,
          "an answer that is not accepted" },
        { { .status = 405, .get_status = 200, .get_body = "bad" },
          STAPLE_FETCH_REJECTED, "not accepted", 0,
          "an answer to GET that is not accepted, none to POST" },
        { { .manner = EARLY }, STAPLE_FETCH_OK, "", 0,
          "an answer, closed behind it" }
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        server_t server = cases[i].server;
        result_t result;

        start(&server);
        result = fetch_url(url_of(server.port, "/"),
                           cases[i].timeout ? cases[i].timeout : AMPLE);
        ok(result.calls == 1 && result.outcome == cases[i].outcome,
           "%s: %s", cases[i].what,
           staple_fetch_outcome_text(cases[i].outcome));
        if (result.outcome != cases[i].outcome
            || !ok(strstr(result.reason, cases[i].reason) != NULL,
                   "... for the right reason")) {
            diag("%d calls, %s: %s", result.calls,
                 staple_fetch_outcome_text(result.outcome), result.reason);
        }
        if (cases[i].timeout) {
            ok(result.took >= cases[i].timeout - MSEC(5),
               "... not before its deadline");
        }
        stop(&server);
    }
}

void test_unreachable(void)
{
    hole_t hole;
    result_t result;
    int fd = listen_at("127.0.0.1", 0, 1);
    int port = port_of(fd);

    close(fd);
    result = fetch_url(url_of(port, "/"), AMPLE);
    is_int(result.outcome, STAPLE_FETCH_REFUSED, "nobody listens: refused");
    is_str(result.peer, apr_psprintf(pool, "127.0.0.1:%d", port),
           "... and the address is told");

    dig(&hole, "127.0.0.1", 0);
    result = fetch_url(url_of(hole.port, "/"), MSEC(300));
    is_int(result.outcome, STAPLE_FETCH_CONNECT_TIMEOUT,
           "no connection in time");
    is_str(result.reason, apr_psprintf(pool, "connection timed out: is "
           "outbound traffic to 127.0.0.1:%d allowed?", hole.port),
           "... with the hint at the firewall");
    fill(&hole);

    result = fetch_url("http://255.255.255.255/", SECOND);
    is_int(result.outcome, STAPLE_FETCH_UNREACHABLE, "no route");

    result = fetch_url("http://none.test/", AMPLE);
    is_int(result.outcome, STAPLE_FETCH_NO_NAME, "no such name");
    ok(strstr(result.reason, "none.test could not be resolved") != NULL,
       "... and it is told");

    result = fetch_url("https://127.0.0.1/", SECOND);
    is_int(result.outcome, STAPLE_FETCH_BAD_URL, "https is not asked");
    is_str(result.reason, "the URL does not begin with http://", "... why");
}

/* Where an exchange spent its time, as far as it came. */
void test_phases(void)
{
    server_t slow = { .manner = ANSWER, .delay_ms = 60 };
    server_t silent = { .manner = SILENT };
    result_t got;
    hole_t hole;

    start(&slow);
    start(&silent);
    got = fetch_url(apr_psprintf(pool, "http://some.test:%d/", slow.port),
                    AMPLE);
    ok(got.resolve_took >= 0 && got.connect_took >= 0
       && got.wait_took >= 0, "an answer: all phases have a time");
    ok(got.resolve_took + got.connect_took + got.wait_took <= got.took,
       "... which are part of the whole");
    got = fetch_url(url_of(silent.port, "/"), 2 * SECOND);
    ok(got.resolve_took >= 0 && got.connect_took >= 0 && got.wait_took == -1,
       "no answer: it never ended to wait");
    got = fetch_url("http://none.test/", SECOND);
    ok(got.resolve_took == -1 && got.connect_took == -1
       && got.wait_took == -1, "no name: none was reached");
    if (dig(&hole, "127.0.0.1", 0)) {
        got = fetch_url(url_of(hole.port, "/"), MSEC(100));
        ok(got.resolve_took >= 0 && got.connect_took == -1
           && got.wait_took == -1, "no connection: resolved, not connected");
        fill(&hole);
    }
    stop(&slow);
    stop(&silent);
}
