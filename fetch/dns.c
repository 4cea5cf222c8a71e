/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Name resolution for the fetch engine. What lives here: the threads that sit
 * in getaddrinfo, and the mailbox where they leave what they found. What does
 * not: how long a result is believed, and who waits for it.
 *
 * The one idea: a thread owns its look-up and shares nothing with the engine
 * but the mailbox, which is freed by whoever leaves it last. So the engine may
 * go, and the process exit, while name servers still keep a thread waiting.
 *
 * getaddrinfo is the system's own resolver, with /etc/hosts, nsswitch and all
 * that an administrator expects; it blocks, has no deadline and cannot be
 * cancelled, hence the threads, and a limit to how many may be stuck.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* dladdr, RTLD_NODELETE */
#endif

#include "dns.h"
#include "staple_magic.h"

#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ENDPOINTS_MAX STAPLE_FETCH_ENDPOINTS_MAX
#define LOOKUPS_MAX 128 /* threads in getaddrinfo, stuck ones included */

/* One getaddrinfo on a thread that owns this, until it is in the mailbox. */
typedef struct work_t work_t;
#define WORK_MAGIC 0x4E414D45u

struct work_t {
    staple_magic_t magic;
    work_t *next;
    staple_fetch_dns_t *dns;
    staple_fetch_lookup_t found;
    char host[];
};

/* The mailbox: shared by the engine and each thread, freed by the last. */
struct staple_fetch_dns_t {
    pthread_mutex_t lock;   /* covers pollset, results and refs */
    apr_pollset_t *pollset; /* to wake up; NULL: the engine is gone */
    work_t *results;
    int refs;
    int lookups;            /* not yet taken; the engine's alone */
};

/* IPv4 mapped into IPv6 is what it is. */
static int read_address(staple_fetch_endpoint_t *endpoint,
                        const struct sockaddr *address)
{
    const void *bytes = NULL;

    endpoint->family = address->sa_family;
    if (address->sa_family == AF_INET) {
        bytes = &((const struct sockaddr_in *)(const void *)
                  address)->sin_addr;
    }
    else if (address->sa_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)
            (const void *)address)->sin6_addr;

        bytes = in6;
        if (IN6_IS_ADDR_V4MAPPED(in6)) {
            bytes = &in6->s6_addr[12];
            endpoint->family = AF_INET;
        }
    }
    return bytes && inet_ntop(endpoint->family, bytes, endpoint->ip,
                              sizeof(endpoint->ip));
}

/* Addresses with the families taking turns, the first one's first. */
static int collect_addresses(staple_fetch_endpoint_t *endpoints,
                             const struct addrinfo *list)
{
    staple_fetch_endpoint_t found[2][ENDPOINTS_MAX];
    int counts[2] = { 0, 0 };
    int first = -1;
    int count = 0;
    int i;

    for (; list; list = list->ai_next) {
        staple_fetch_endpoint_t one = { 0 };
        int which;

        if (!read_address(&one, list->ai_addr)) {
            continue;
        }
        which = one.family == AF_INET6;
        if (counts[which] == ENDPOINTS_MAX) {
            continue;
        }
        first = first < 0 ? which : first;
        found[which][counts[which]++] = one;
    }
    for (i = 0; first >= 0 && i < ENDPOINTS_MAX; i++) {
        if (i < counts[first] && count < ENDPOINTS_MAX) {
            endpoints[count++] = found[first][i];
        }
        if (i < counts[!first] && count < ENDPOINTS_MAX) {
            endpoints[count++] = found[!first][i];
        }
    }
    return count;
}

static struct addrinfo *get_addresses(const char *host, int flags, int *error)
{
    struct addrinfo hints = { 0 };
    struct addrinfo *list = NULL;

    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    *error = getaddrinfo(host, NULL, &hints, &list);
    return *error ? NULL : list;
}

/* Called with the lock held, which it gives back. */
static void release(staple_fetch_dns_t *dns)
{
    int refs = --dns->refs;

    pthread_mutex_unlock(&dns->lock);
    if (!refs) {
        pthread_mutex_destroy(&dns->lock);
        free(dns);
    }
}

/* A thread's whole life. */
static void *resolve_name(void *data)
{
    work_t *work = STAPLE_CAST(work_t, WORK_MAGIC, data);
    staple_fetch_dns_t *dns = work->dns;
    struct addrinfo *list = get_addresses(work->host, 0, &work->found.error);

    if (list) {
        work->found.count = collect_addresses(work->found.endpoints, list);
        freeaddrinfo(list);
    }
    pthread_mutex_lock(&dns->lock);
    if (dns->pollset) {
        work->next = dns->results;
        dns->results = work;
        apr_pollset_wakeup(dns->pollset);
    }
    else {
        free(work);
    }
    release(dns);
    return NULL;
}

/*
 * Signals belong to the program's own threads. A POSIX thread rather than an
 * APR one: that would take memory from a pool which may be gone before it ends.
 */
static int spawn(work_t *work)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int rc;

    if (pthread_attr_init(&attr)) {
        return 0;
    }
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, &attr, resolve_name, work);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0;
}

apr_status_t staple_fetch_dns_start(staple_fetch_dns_t *dns, const char *host,
                                    site_t *site)
{
    apr_size_t len = strlen(host) + 1;
    work_t *work;

    if (dns->lookups >= LOOKUPS_MAX) {
        return APR_EAGAIN;
    }
    work = calloc(1, sizeof(*work) + len);
    if (!work) {
        return APR_ENOMEM;
    }
    work->magic = WORK_MAGIC;
    memcpy(work->host, host, len);
    work->dns = dns;
    work->found.site = site;
    pthread_mutex_lock(&dns->lock);
    dns->refs++;
    pthread_mutex_unlock(&dns->lock);
    if (!spawn(work)) {
        free(work);
        pthread_mutex_lock(&dns->lock);
        release(dns);
        return APR_ENOMEM;
    }
    dns->lookups++;
    return APR_SUCCESS;
}

int staple_fetch_dns_take(staple_fetch_dns_t *dns,
                          staple_fetch_lookup_t *lookup)
{
    work_t *work;

    pthread_mutex_lock(&dns->lock);
    work = dns->results;
    if (work) {
        dns->results = work->next;
    }
    pthread_mutex_unlock(&dns->lock);
    if (!work) {
        return 0;
    }
    dns->lookups--;
    *lookup = work->found;
    free(work);
    return 1;
}

int staple_fetch_dns_parse(staple_fetch_endpoint_t *endpoint,
                           const char *host)
{
    int error;
    struct addrinfo *list = get_addresses(host, AI_NUMERICHOST, &error);
    int is_address = list && read_address(endpoint, list->ai_addr);

    if (list) {
        freeaddrinfo(list);
    }
    return is_address;
}

/* A thread may still run in this module when the process, at its exit, unloads
 * it: keep the code where it is, in the processes that ask for an engine. */
static void pin_code(void)
{
    Dl_info info;

    if (dladdr((void *)(apr_uintptr_t)pin_code, &info) && info.dli_fname) {
        dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

/* What the system's resolver keeps for the whole process is made by its first
 * use. Where memory is short just then, glibc (2.36 was looked at) never
 * resolves a name again in this process, or never comes back. So it is used
 * once where a failure is noticed. */
static int prepare_resolver(void)
{
    return res_init() == 0;
}

staple_fetch_dns_t *staple_fetch_dns_create(apr_pollset_t *pollset)
{
    staple_fetch_dns_t *dns = prepare_resolver() ? calloc(1, sizeof(*dns))
                                                 : NULL;

    if (!dns) {
        return NULL;
    }
    if (pthread_mutex_init(&dns->lock, NULL)) {
        free(dns);
        return NULL;
    }
    dns->pollset = pollset;
    dns->refs = 1;
    pin_code();
    return dns;
}

void staple_fetch_dns_destroy(staple_fetch_dns_t *dns)
{
    work_t *work, *next;

    pthread_mutex_lock(&dns->lock);
    dns->pollset = NULL;
    for (work = dns->results; work; work = next) {
        next = work->next;
        free(work);
    }
    dns->results = NULL;
    release(dns);
}
