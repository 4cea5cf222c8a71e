/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Addresses that may not be asked: by name, by redirect, behind a proxy; and
 * what a word of StapleDenyResponder means.
 */

#include "staple_deny.h"

#include "fetch_test.h"

#include "../tap.h"

#include <string.h>

#include <apr_strings.h>

static const char *deny_loopback(const void *baton, const char *host,
                                 const char *address, apr_uint16_t port)
{
    (void)baton;
    (void)host;
    (void)port;
    return strcmp(address, "127.0.0.1") ? NULL : "is denied";
}

void test_denied(void)
{
    static const char *const forms[] = {
        "http://127.0.0.1:%d/", "http://some.test:%d/",
        "http://[::ffff:127.0.0.1]:%d/", "http://mapped.test:%d/"
    };
    server_t server = { .manner = ANSWER };
    server_t proxy = { .manner = ANSWER };
    apr_size_t i;

    start(&server);
    start(&proxy);
    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        staple_fetch_t *fetch = engine(4, deny_loopback);
        result_t result = { 0 };

        submit(fetch, apr_psprintf(pool, forms[i], server.port), &result,
               AMPLE);
        run(fetch);
        is_int(result.outcome, STAPLE_FETCH_DENIED,
               apr_psprintf(pool, "denied: %s", forms[i]));
        staple_fetch_destroy(fetch);
    }
    is_int(server.connections, 0, "nobody was asked");
    {
        const char *url = url_of(server.port, "/");
        staple_fetch_t *fetch = engine(4, deny_loopback);
        result_t result = { 0 }, named = { 0 };
        staple_fetch_job_t job = job_for(&url, 1, &result);

        job.proxy = apr_psprintf(pool, "http://127.0.0.1:%d", proxy.port);
        staple_fetch_submit(fetch, &job);
        url = "http://some.test/";
        job = job_for(&url, 1, &named);
        job.proxy = apr_psprintf(pool, "http://127.0.0.1:%d", proxy.port);
        staple_fetch_submit(fetch, &job);
        run(fetch);
        is_int(result.outcome, STAPLE_FETCH_DENIED,
               "an address is denied behind a proxy too");
        is_int(named.outcome, STAPLE_FETCH_OK, "the proxy itself is not");
        staple_fetch_destroy(fetch);
    }
    stop(&server);
    stop(&proxy);
}

static int refused(const staple_deny_t *deny, const char *host,
                   const char *address, apr_uint16_t port)
{
    return staple_deny_refusal(deny, host, address, port) != NULL;
}

/* Ports, what the administrator has named, and "none". */
static void test_deny_defaults(void)
{
    staple_deny_t *deny = staple_deny_make(pool);
    const char *why = staple_deny_refusal(deny, "a.test",
                                          "169.254.169.254", 80);

    ok(why && strstr(why, "SSLStaplingForceURL")
       && strstr(why, "StapleDenyResponder none"),
       "it is said how it is allowed: %s", why ? why : "");
    why = staple_deny_reason(deny, "a.test", "169.254.169.254", 80);
    ok(why && !strstr(why, "SSLStaplingForceURL"), "... or not: %s",
       why ? why : "");
    ok(!staple_deny_reason(deny, "a.test", "192.0.2.1", 80),
       "... and nothing of what may be asked");
    ok(refused(deny, "a.test", "192.0.2.1", 6379)
       && refused(deny, "a.test", "192.0.2.1", 25)
       && refused(deny, "a.test", "192.0.2.1", 11211),
       "ports of other protocols");
    ok(!refused(deny, "a.test", "192.0.2.1", 8080)
       && !refused(deny, "a.test", "192.0.2.1", 80)
       && !refused(deny, "a.test", "192.0.2.1", 65535),
       "other ports may be asked");
    staple_deny_trust(deny, "forced.test", 25);
    ok(!refused(deny, "forced.test", "169.254.1.1", 25),
       "what SSLStaplingForceURL names is not refused by default");
    ok(refused(deny, "forced.test", "169.254.1.1", 80)
       && refused(deny, "a.test", "169.254.1.1", 25),
       "... at that host and port");
    staple_deny_add(deny, "link-local", pool);
    ok(refused(deny, "forced.test", "169.254.1.1", 25),
       "... but by the directive");
    ok(staple_deny_add(deny, "none", pool) != NULL,
       "none does not stand beside words");
    deny = staple_deny_make(pool);
    ok(!staple_deny_add(deny, "NONE", pool)
       && !refused(deny, "a.test", "169.254.1.1", 25),
       "none refuses no port either");
    ok(staple_deny_add(deny, "loopback", pool) != NULL,
       "nor words beside none");
}

/* What a word of StapleDenyResponder keeps out, and what it does not. */
void test_deny_words(void)
{
    static const struct {
        const char *words, *denied, *allowed;
    } rows[] = {
        { "", "169.254.0.0 169.254.169.254 fe80::1 168.63.129.16 192.0.0.192"
          " fd00:ec2::254 224.0.0.1 239.255.255.255 ff02::1 255.255.255.255"
          " 0.0.0.0 :: ::ffff:169.254.1.1 ::169.254.1.1 ::ffff:0:169.254.1.1"
          " 64:ff9b::169.254.1.1 64:ff9b:1::169.254.1.1"
          " 64:ff9b:1:a9fe:1:100:: 2002:a9fe:101::1"
          " 2001:0:a9fe:101::1 2001::5601:fefe"
          " 100.100.100.200 ::ffff:100.100.100.200 64:ff9b::6464:64c8"
          " fd00:ec2::23 fd20:ce::254 fd00:c1::a9fe:a9fe fd00:a9fe:a9fe::1"
          " fd00:42::42 fd00:100::100:200",
          "127.0.0.1 ::1 10.1.2.3 192.0.2.1 2001:db8::1 168.63.129.17"
          " 223.255.255.255 240.0.0.1 fd00:ec2::253 64:ff9b::192.0.2.1"
          " 100.100.100.199 100.64.0.1 64:ff9b::6464:64c9 fd20:ce::253"
          " 2002:c000:201::1 2001:0:c000:201::1 2a00::169.254.1.1" },
        { "none", "", "169.254.169.254 ff02::1 0.0.0.0 127.0.0.1" },
        { "loopback",
          "127.0.0.1 127.255.255.255 0.0.0.0 0.1.2.3 ::1 :: ::ffff:127.0.0.1"
          " ::ffff:7f00:1 64:ff9b::127.0.0.1 ::127.0.0.1 2002:7f00:1::",
          "128.0.0.0 126.255.255.255 1.0.0.0 1::1 ::ffff:128.0.0.1"
          " 64:ff9b::10.0.0.1 10.0.0.1" },
        { "private",
          "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.1"
          " 100.64.0.0 100.127.255.255 fc00:: fdff::1 fec0::1"
          " ::ffff:10.0.0.1 64:ff9b::a00:1 192.0.0.1 198.18.0.1 198.19.0.1"
          " 240.0.0.1 192.0.2.1 2001:db8::1 100::1 3fff::1 64:ff9b:1::1"
          " 2002:a00:1::1",
          "9.255.255.255 11.0.0.0 172.15.255.255 172.32.0.0 192.167.255.255"
          " 192.169.0.0 100.63.255.255 100.128.0.0 fe00::1 fbff::1 127.0.0.1"
          " 64:ff9b::8.8.8.8 8.8.8.8 2a00::1 198.20.0.0" },
        { "link-local", "169.254.0.0 169.254.255.255 fe80::1 febf::1",
          "169.253.255.255 169.255.0.0 fec0::1 fe7f::1 10.0.0.1" },
        { "LOOPBACK Private",
          "127.0.0.1 10.0.0.1 169.254.1.1", "8.8.8.8" },
        { "192.0.2.7", "192.0.2.7 ::ffff:192.0.2.7 ::192.0.2.7",
          "192.0.2.6 192.0.2.8" },
        { "2001:db8::7", "2001:db8::7", "2001:db8::8 192.0.2.7" },
        { "192.0.2.0/25", "192.0.2.0 192.0.2.127", "192.0.2.128 192.0.1.255" },
        { "192.0.2.4/31", "192.0.2.4 192.0.2.5", "192.0.2.3 192.0.2.6" },
        { "192.0.2.4/32", "192.0.2.4", "192.0.2.5" },
        { "0.0.0.0/0", "0.0.0.0 192.0.2.1 255.255.255.255 ::ffff:192.0.2.1"
          " 64:ff9b::192.0.2.1", "::1 2001:db8::1" },
        { "::/0", "192.0.2.1 ::1 2001:db8::1", "" },
        { "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1" },
        { "64:ff9b::/96", "64:ff9b::192.0.2.1",
          "192.0.2.1 64:ff9b:1::8.8.8.8" },
        { "", "localhost 127.1 1 0x7f000001 127.0.0.1:80 [::1] fe80::1%eth0",
          "192.0.2.1" } /* what is no address is denied by any list */
    };
    static const char *const wrong[] = {
        "", "localhost", "loopback/8", "10.0.0.0/", "10.0.0.0/33",
        "10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0.0/8x", "10.0.0.0/0008",
        "10.0.0.1/8", "10/8", "10.0.0.0/255.0.0.0", "2001:db8::/129",
        "2001:db8::1/64", "[2001:db8::]/64", "/8", "0.0.0.1/0", "::1/0"
    };
    apr_size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        staple_deny_t *deny = staple_deny_make(pool);
        char *words = apr_pstrdup(pool, rows[i].words), *last;
        const char *bad = "";
        int which;

        for (words = apr_strtok(words, " ", &last); words;
             words = apr_strtok(NULL, " ", &last)) {
            if (staple_deny_add(deny, words, pool)) {
                bad = apr_pstrcat(pool, bad, " refused:", words, NULL);
            }
        }
        for (which = 0; which < 2; which++) {
            char *text = apr_pstrdup(pool, which ? rows[i].denied
                                                 : rows[i].allowed);

            for (text = apr_strtok(text, " ", &last); text;
                 text = apr_strtok(NULL, " ", &last)) {
                if ((staple_deny_refusal(deny, "host.test", text, 80) != NULL)
                    != which) {
                    bad = apr_pstrcat(pool, bad, " ", text, NULL);
                }
            }
        }
        is_str(bad, "", apr_psprintf(pool, "StapleDenyResponder %s",
                                     rows[i].words));
    }
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        staple_deny_t *deny = staple_deny_make(pool);

        ok(staple_deny_add(deny, wrong[i], pool)
           && !staple_deny_refusal(deny, "host.test", "10.0.0.1", 80),
           "not accepted, and nothing added: '%s'", wrong[i]);
    }
    test_deny_defaults();
}

static const char *deny_second(const void *baton, const char *host,
                               const char *address, apr_uint16_t port)
{
    (void)host;
    (void)address;
    return port == *(const int *)baton ? "is denied" : NULL;
}

void test_denied_redirect(void)
{
    server_t target = { .manner = ANSWER };
    server_t server = { .status = 302 };
    staple_fetch_conf_t conf = { 0 };
    staple_fetch_t *fetch;
    result_t result = { 0 };

    start(&target);
    server.fields = apr_psprintf(pool, "Location: http://127.0.0.1:%d/x\r\n",
                                 target.port);
    start(&server);
    conf.concurrency = 2;
    conf.max_body = 1000;
    conf.refusal = deny_second;
    conf.refusal_baton = &target.port;
    staple_fetch_create(&fetch, &conf, pool);
    submit(fetch, url_of(server.port, "/"), &result, AMPLE);
    run(fetch);
    is_int(result.outcome, STAPLE_FETCH_DENIED, "denied after a redirect");
    is_int(target.connections, 0, "... and not asked");
    staple_fetch_destroy(fetch);
    stop(&server);
    stop(&target);
}
