/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An address that falls ill is left for another one of the same name, at once;
 * and answers that a server does not end, or does not give at all.
 */

#include "fetch_test.h"

#include "../../../fetch/address.h"
#include "../tap.h"

#include <string.h>

#include <apr_strings.h>

/* The first address of eyes.test; the second one is 127.0.0.1. */
#define FIRST "127.0.0.2"

static const struct {
    server_t server;
    int most;  /* how often the first address may be asked */
    const char *what;
} ills[] = {
    { { .manner = SILENT }, 1, "is silent" },
    { { .manner = DRIP }, 1, "drips" },
    { { .manner = HANGUP }, 1, "hangs up" },
    { { .manner = RESET }, 1, "resets" },
    { { .manner = GARBAGE }, 1, "is not HTTP" },
    { { .manner = SHORT }, 1, "cuts the body short" },
    { { .manner = HUGE }, 1, "sends far too much" },
    { { .body = "<html>" }, 1, "sends a page" },
    { { .body = "old" }, 1, "sends what is of no use" },
    { { .status = 500 }, 1, "says 500" },
    { { .status = 503 }, 1, "says 503" }
};

/* Whatever befalls the first address, the second one is asked in the same
 * round, and alone in the next one. */
void test_ill_address(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof(ills) / sizeof(ills[0]); i++) {
        server_t well = { .manner = ANSWER };
        server_t ill = ills[i].server;
        staple_fetch_t *fetch = engine(4, NULL);
        result_t first = { 0 }, second = { 0 };
        const char *url;

        start(&well);
        if (!start_at(&ill, FIRST, well.port)) {
            ok(1, "# SKIP no %s here", FIRST);
            stop(&well);
            return;
        }
        url = apr_psprintf(pool, "http://eyes.test:%d/", well.port);
        submit(fetch, url, &first, AMPLE);
        run(fetch);
        ok(first.outcome == STAPLE_FETCH_OK && ill.requests == 1
           && well.requests == 1,
           "the first address %s: the second one is asked", ills[i].what);
        is_str(first.peer, apr_psprintf(pool, "127.0.0.1:%d", well.port),
               "... and told");
        submit(fetch, url, &second, AMPLE);
        run(fetch);
        ok(second.outcome == STAPLE_FETCH_OK && ill.requests == 1
           && well.requests == 2, "... and it alone from then on");
        staple_fetch_destroy(fetch);
        stop(&ill);
        stop(&well);
    }
}

/* Where none is well, the round fails, for the reason that tells most; and an
 * address that was well before falls ill like any other. */
void test_all_ill(void)
{
    server_t first = { .status = 503, .fields = "Retry-After: 7\r\n" };
    server_t second = { .manner = HANGUP };
    staple_fetch_t *fetch = engine(4, NULL);
    result_t result = { 0 };
    const char *url;

    start(&second);
    if (!start_at(&first, FIRST, second.port)) {
        ok(1, "# SKIP no %s here", FIRST);
        stop(&second);
        return;
    }
    url = apr_psprintf(pool, "http://eyes.test:%d/", second.port);
    submit(fetch, url, &result, AMPLE);
    run(fetch);
    is_int(first.requests + second.requests, 2, "both are asked, once");
    ok(result.calls == 1 && result.outcome != STAPLE_FETCH_OK,
       "the round fails");

    second.manner = ANSWER;
    submit(fetch, url, &result, AMPLE);
    run(fetch);
    is_int(result.outcome, STAPLE_FETCH_OK, "the second one is well");
    second.manner = HANGUP;
    first.status = 200;
    submit(fetch, url, &result, AMPLE);
    run(fetch);
    is_int(result.outcome, STAPLE_FETCH_OK, "it falls ill: the first one");
    is_str(result.peer, apr_psprintf(pool, FIRST ":%d", second.port),
           "... is told");

    first.body = "later"; /* which no other address would better */
    second.manner = ANSWER;
    second.requests = first.requests = 0;
    submit(fetch, url, &result, AMPLE);
    run(fetch);
    is_int(result.outcome, STAPLE_FETCH_REJECTED, "the responder's own word");
    is_int(first.requests + second.requests, 1,
           "... is asked for once: no other address, no POST");
    staple_fetch_destroy(fetch);
    stop(&first);
    stop(&second);
}

/* Half an answer, and beside it an address that takes no connection: what is
 * told is how far the answer came. */
void test_half(void)
{
    server_t half = { .manner = HALF };
    result_t result;
    hole_t hole;

    if (!start_at(&half, FIRST, 0)) {
        ok(1, "# SKIP no %s here", FIRST);
        return;
    }
    if (dig(&hole, "127.0.0.1", half.port)) {
        result = fetch_url(apr_psprintf(pool, "http://eyes.test:%d/",
                                        half.port), 6 * SECOND);
        ok(result.outcome == STAPLE_FETCH_TIMEOUT
           && strstr(result.reason, "(42 bytes came)"),
           "half an answer, then another address: so many bytes came");
        is_str(result.peer, apr_psprintf(pool, FIRST ":%d", half.port),
               "... from there");
        ok(result.connect_took >= 0 && result.wait_took >= 0,
           "... and it was connected, and began to answer");
        fill(&hole);
    }
    stop(&half);
}

static const char *order_of(const addresses_t *addresses)
{
    staple_fetch_endpoint_t ordered[STAPLE_FETCH_ENDPOINTS_MAX];
    int well = staple_fetch_address_order(addresses, ordered);
    char *text = "";
    int i;

    for (i = 0; i < addresses->count; i++) {
        text = apr_pstrcat(pool, text, i == well ? "|" : "", ordered[i].ip,
                           NULL);
    }
    return text;
}

static void know(addresses_t *addresses, const char *ips)
{
    staple_fetch_endpoint_t endpoint = { 0, "" };

    staple_fetch_address_clear(addresses);
    for (; *ips; ips++) {
        endpoint.ip[0] = *ips;
        staple_fetch_address_add(addresses, &endpoint);
    }
}

/* One letter an address; what stands behind the bar has failed. */
void test_address_order(void)
{
    addresses_t addresses = { 0 };

    know(&addresses, "abc");
    is_str(order_of(&addresses), "abc", "nothing is known: as resolved");
    staple_fetch_address_note_answer(&addresses, "b");
    is_str(order_of(&addresses), "bac", "what has answered is the first");
    staple_fetch_address_note_failure(&addresses, "b", 10);
    is_str(order_of(&addresses), "ac|b", "until it fails");
    know(&addresses, "bca");
    is_str(order_of(&addresses), "ca|b", "after a new look-up too");
    staple_fetch_address_note_failure(&addresses, "a", 20);
    staple_fetch_address_note_failure(&addresses, "c", 30);
    is_str(order_of(&addresses), "|bac", "all have failed: the oldest first");
    staple_fetch_address_note_answer(&addresses, "b");
    is_str(order_of(&addresses), "b|ac", "what answers again is well");
}

/* A body whose end is not told is taken when its SEQUENCE is complete. */
void test_endless(void)
{
    server_t server = { .manner = ENDLESS };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t results[4] = { { 0 } };
    int i, good = 0;

    start(&server);
    for (i = 0; i < 4; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], AMPLE);
    }
    run(fetch);
    for (i = 0; i < 4; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 4, "a body whose end is not told is taken at once");
    is_int(server.connections, 4, "... and its connection not used again");
    staple_fetch_destroy(fetch);
    stop(&server);

    server.body = "\r\n";
    start(&server);
    is_int(fetch_url(url_of(server.port, "/"), AMPLE).outcome, STAPLE_FETCH_OK,
           "... whether more has come with it or not");
    stop(&server);
}

static int count_good(const result_t *results, int count)
{
    int i, good = 0;

    for (i = 0; i < count; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    return good;
}

/* A server that is deaf from some moment on: one idle connection finds that
 * out, and the others are not tried as well. */
void test_deaf_later(void)
{
    server_t server = { .delay_ms = 20 };
    staple_fetch_t *fetch = engine(16, NULL);
    result_t many[64] = { { 0 } }, first = { 0 }, results[4] = { { 0 } };
    int i;

    start(&server);
    for (i = 0; i < 64; i++) {
        submit(fetch, url_of(server.port, "/"), &many[i], AMPLE);
    }
    run(fetch);
    ok(count_good(many, 64) == 64 && server.connections > 4,
       "several connections are kept");
    server.manner = DEAF;
    submit(fetch, url_of(server.port, "/"), &first, 15 * SECOND);
    run(fetch);
    is_int(first.outcome, STAPLE_FETCH_OK, "one of them is not heard");
    server.requests = 0;
    for (i = 0; i < 4; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], AMPLE);
    }
    run(fetch);
    is_int(count_good(results, 4), 4, "... and what is asked then");
    is_int(server.requests, 4, "... is asked over new ones only");
    staple_fetch_destroy(fetch);
    stop(&server);
}

/* A server that does not hear a second request is asked over a new connection,
 * and from then on always. */
void test_deaf(void)
{
    server_t server = { .manner = DEAF };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t results[6] = { { 0 } };
    int i, good = 0;

    start(&server);
    for (i = 0; i < 6; i++) {
        submit(fetch, url_of(server.port, "/"), &results[i], AMPLE);
    }
    run(fetch);
    for (i = 0; i < 6; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 6, "a second request that is not heard costs no deadline");
    is_int(server.requests, 7, "... and happens once");
    staple_fetch_destroy(fetch);
    stop(&server);
}
