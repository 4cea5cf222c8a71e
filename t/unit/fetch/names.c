/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The resolver of the tests: names that end in ".test" are resolved here, all
 * others by the system.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#endif

#include <stddef.h>

#include "fetch_test.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

names_t names = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0
};

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *,
                           struct addrinfo **);

static int real_lookup(const char *ip, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    getaddrinfo_fn *real;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(ip, NULL, hints, list);
}

static int two_addresses(const char *first, const char *second,
                         const struct addrinfo *hints, struct addrinfo **list)
{
    struct addrinfo *last;

    if (real_lookup(first, hints, list)) {
        return EAI_FAIL;
    }
    for (last = *list; last->ai_next; last = last->ai_next) {
    }
    return real_lookup(second, hints, &last->ai_next);
}

static int is_stuck(const char *host)
{
    const char *end = strstr(host, "stuck.test");

    return end && !end[10];
}

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **list)
{
    getaddrinfo_fn *real;

    if (!host || !strstr(host, ".test")) {
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
        return real(host, service, hints, list);
    }
    pthread_mutex_lock(&names.lock);
    names.lookups++;
    if (is_stuck(host)) {
        names.stuck++;
        while (!names.is_free) {
            pthread_cond_wait(&names.freed, &names.lock);
        }
        names.stuck--;
    }
    pthread_mutex_unlock(&names.lock);
    if (!strcmp(host, "none.test") || is_stuck(host)) {
        return EAI_NONAME;
    }
    if (!strcmp(host, "eyes.test")) {
        return two_addresses("127.0.0.2", "127.0.0.1", hints, list);
    }
    if (!strcmp(host, "eyes6.test")) {
        return two_addresses("::1", "127.0.0.1", hints, list);
    }
    if (!strcmp(host, "moves.test")) {
        return real_lookup(names.has_moved ? "127.0.0.1" : "127.0.0.2", hints,
                           list);
    }
    if (!strcmp(host, "mapped.test")) {
        return real_lookup("::ffff:127.0.0.1", hints, list);
    }
    return real_lookup("127.0.0.1", hints, list);
}
