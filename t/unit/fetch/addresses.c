/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Names and addresses: look-ups that hang, two addresses behind one name,
 * IPv6, and a name that moves to another address.
 */

#include "fetch_test.h"

#include "../tap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>

/* Until the threads in stuck.test are as many. */
static int wait_for_stuck(int count)
{
    int i, stuck = -1;

    for (i = 0; i < 20000 && stuck != count; i++) {
        usleep(1000);
        pthread_mutex_lock(&names.lock);
        stuck = names.stuck;
        pthread_mutex_unlock(&names.lock);
    }
    return stuck == count;
}

void test_names(void)
{
    server_t server = { .manner = ANSWER };
    staple_fetch_t *fetch = engine(8, NULL);
    result_t *results = apr_pcalloc(pool, sizeof(*results) * 1000);
    result_t stuck = { 0 };
    int i, good = 0;

    start(&server);
    names.lookups = 0;
    submit(fetch, "http://stuck.test/", &stuck, MSEC(300));
    for (i = 0; i < 1000; i++) {
        submit(fetch, apr_psprintf(pool, "http://some.test:%d/", server.port),
               &results[i], AMPLE);
    }
    run(fetch);
    for (i = 0; i < 1000; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 1000, "a thousand for one name, beside one that is stuck");
    is_int(names.lookups, 2, "... one lookup for each");
    is_int(stuck.outcome, STAPLE_FETCH_NO_NAME, "the stuck one is given up");
    submit(fetch, "http://stuck.test/", &stuck, MSEC(100));
    submit(fetch, "http://stuck.test/x", &stuck, MSEC(100));
    run(fetch);
    is_int(names.lookups, 2, "... and not looked up twice at a time");
    is_int(stuck.calls, 3, "... for any job");
    staple_fetch_destroy(fetch);
    ok(1, "nor does it hold up the end: it is let go below");

    pthread_mutex_lock(&names.lock);
    names.is_free = 1;
    pthread_cond_broadcast(&names.freed);
    pthread_mutex_unlock(&names.lock);
    ok(wait_for_stuck(0), "its thread ends after the engine");
    stop(&server);
}

/* A process may exit while a name server keeps a lookup waiting. */
void test_exit(void)
{
    int i, status = -1;
    pid_t pid = fork();

    if (!pid) {
        staple_fetch_t *fetch = engine(2, NULL);
        result_t result = { 0 };

        submit(fetch, "http://stuck.test/", &result, AMPLE);
        staple_fetch_run(fetch, MSEC(20));
        if (!wait_for_stuck(1)) {
            _exit(2);
        }
        staple_fetch_destroy(fetch);
        exit(result.outcome == STAPLE_FETCH_STOPPED ? 0 : 3);
    }
    for (i = 0; i < 30000 && waitpid(pid, &status, WNOHANG) == 0; i++) {
        usleep(1000);
    }
    if (i == 30000) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    is_int(status, 0, "a process ends while a lookup hangs");
}

/* Two addresses of one name: the first one is full, then the second has been
 * used, and at last both would answer. */
void test_eyeballs(void)
{
    server_t server = { .fields = "Connection: close\r\n" };
    server_t other = { .fields = "Connection: close\r\n" };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t result = { 0 };
    const char *url;
    hole_t hole;
    int i;

    start(&server);
    if (!dig(&hole, "127.0.0.2", server.port)) {
        ok(1, "# SKIP no 127.0.0.2 here");
        stop(&server);
        return;
    }
    url = apr_psprintf(pool, "http://eyes.test:%d/", server.port);
    submit(fetch, url, &result, AMPLE);
    run(fetch);
    ok(result.outcome == STAPLE_FETCH_OK && result.took >= MSEC(240),
       "the second address is tried, after 250 ms");
    is_str(result.peer, apr_psprintf(pool, "127.0.0.1:%d", server.port),
           "... and told");
    fill(&hole);
    ok(start_at(&other, "127.0.0.2", server.port), "the first one answers");
    for (i = 0; i < 5; i++) {
        submit(fetch, url, &result, AMPLE);
        run(fetch);
    }
    is_int(server.requests, 6, "... and the second is the first from then on");
    is_int(other.requests, 0, "... so that it is not asked");
    staple_fetch_destroy(fetch);
    stop(&other);
    stop(&server);
}

/* A slow address that answers after all, when another has the request. */
void test_late_address(void)
{
    server_t server = { .manner = ANSWER, .delay_ms = 1500 };
    staple_fetch_t *fetch = engine(2, NULL);
    result_t result = { 0 };
    int fd, i, late = 0;
    hole_t hole;

    start(&server);
    if (!dig(&hole, "127.0.0.2", server.port)) {
        ok(1, "# SKIP no 127.0.0.2 here");
        staple_fetch_destroy(fetch);
        stop(&server);
        return;
    }
    submit(fetch, apr_psprintf(pool, "http://eyes.test:%d/", server.port),
           &result, AMPLE);
    staple_fetch_run(fetch, MSEC(400));
    for (i = 0; i < 8; i++) {
        close(hole.fillers[i]);
        hole.fillers[i] = -1;
    }
    fcntl(hole.fd, F_SETFL, O_NONBLOCK);
    for (i = 0; i < 300 && staple_fetch_run(fetch, MSEC(100)); i++) {
        while ((fd = accept(hole.fd, NULL, NULL)) >= 0) {
            char byte;

            late += recv(fd, &byte, 1, 0) > 0; /* the fillers are closed */
            close(fd);
        }
    }
    is_int(result.outcome, STAPLE_FETCH_OK, "an address that comes too late");
    is_int(server.requests + late, 1, "... is not asked beside the other");
    staple_fetch_destroy(fetch);
    fill(&hole);
    stop(&server);
}

void test_ipv6(void)
{
    server_t server = { .manner = ANSWER };
    server_t v4only = { .manner = ANSWER };
    result_t result;

    if (!start_at(&server, "::1", 0)) {
        ok(1, "# SKIP no IPv6 here");
        return;
    }
    result = fetch_url(apr_psprintf(pool, "http://[::1]:%d/", server.port),
                       AMPLE);
    is_int(result.outcome, STAPLE_FETCH_OK, "an IPv6 literal");
    is_str(result.peer, apr_psprintf(pool, "[::1]:%d", server.port),
           "... and its name");
    ok(strstr(server.last, apr_psprintf(pool, "Host: [::1]:%d\r\n",
                                        server.port)) != NULL,
       "... in Host");
    stop(&server);

    start(&v4only);
    result = fetch_url(apr_psprintf(pool, "http://eyes6.test:%d/",
                                    v4only.port), AMPLE);
    is_int(result.outcome, STAPLE_FETCH_OK, "IPv6 refused, IPv4 asked");
    stop(&v4only);
}

/* The servers behind moves.test, before it moves and after. */
typedef struct move_t {
    server_t before, after;
    staple_fetch_t *fetch;
    const char *url;
} move_t;

/* Ask the first one, and let the name move; 0: there is no 127.0.0.2. */
static int begin_move(move_t *move)
{
    result_t result = { 0 };

    start(&move->after);
    if (!start_at(&move->before, "127.0.0.2", move->after.port)) {
        ok(1, "# SKIP no 127.0.0.2 here");
        stop(&move->after);
        return 0;
    }
    names.has_moved = names.lookups = 0;
    move->fetch = engine(16, NULL);
    move->url = apr_psprintf(pool, "http://moves.test:%d/", move->after.port);
    submit(move->fetch, move->url, &result, AMPLE);
    run(move->fetch);
    ok(result.outcome == STAPLE_FETCH_OK && move->before.requests == 1,
       "a name with one address, which answers");
    names.has_moved = 1;
    return 1;
}

static void end_move(move_t *move)
{
    staple_fetch_destroy(move->fetch);
    stop(&move->before);
    stop(&move->after);
}

/* The only address that is known fails: the name is looked up once more in
 * the same round. */
void test_moved(void)
{
    static const struct {
        manner_e manner;
        int status;
        const char *what;
    } cases[] = {
        { HANGUP, 200, "hangs up" },
        { RESET, 200, "resets" },
        { GARBAGE, 200, "is not HTTP" },
        { ANSWER, 502, "says 502" }
    };
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        move_t move = { 0 };
        result_t result = { 0 };

        if (!begin_move(&move)) {
            return;
        }
        move.before.manner = cases[i].manner;
        move.before.status = cases[i].status;
        submit(move.fetch, move.url, &result, AMPLE);
        run(move.fetch);
        ok(result.outcome == STAPLE_FETCH_OK && move.after.requests == 1,
           "it %s: the address that the name has now is asked",
           cases[i].what);
        is_int(names.lookups, 2, "... after one more look-up");
        end_move(&move);
    }
}

/* One that takes the connection and is silent costs the round; the next one
 * looks the name up. */
void test_moved_silent(void)
{
    move_t move = { 0 };
    result_t first = { 0 }, second = { 0 };

    if (!begin_move(&move)) {
        return;
    }
    move.before.manner = SILENT;
    submit(move.fetch, move.url, &first, MSEC(600));
    run(move.fetch);
    is_int(first.outcome, STAPLE_FETCH_TIMEOUT, "it is silent: a timeout");
    submit(move.fetch, move.url, &second, AMPLE);
    run(move.fetch);
    ok(second.outcome == STAPLE_FETCH_OK && names.lookups == 2,
       "... and the name is looked up in the next round");
    end_move(&move);
}

/* Many that fail at a time look the name up once, and what needs no look-up
 * does not wait for it. */
void test_moved_shared(void)
{
    move_t move = { 0 };
    result_t results[8] = { { 0 } };
    int i, good = 0;

    if (!begin_move(&move)) {
        return;
    }
    for (i = 0; i < 8; i++) {
        submit(move.fetch, move.url, &results[i], AMPLE);
    }
    run(move.fetch);
    names.lookups = 0;
    move.before.manner = HANGUP;
    for (i = 0; i < 8; i++) {
        submit(move.fetch, move.url, &results[i], AMPLE);
    }
    run(move.fetch);
    for (i = 0; i < 8; i++) {
        good += results[i].outcome == STAPLE_FETCH_OK;
    }
    is_int(good, 8, "eight fail at its old address, and find the new one");
    is_int(names.lookups, 1, "... by one look-up");
    end_move(&move);
}

/* What may be the method's fault is sent with the other one first. */
void test_moved_not(void)
{
    move_t move = { 0 };
    result_t result = { 0 };

    if (!begin_move(&move)) {
        return;
    }
    move.before.get_body = "bad";
    submit(move.fetch, move.url, &result, AMPLE);
    run(move.fetch);
    ok(result.outcome == STAPLE_FETCH_OK && names.lookups == 1,
       "a bad answer to GET: POST, and no look-up");
    is_int(move.after.requests, 0, "... and no other address");
    end_move(&move);
}
