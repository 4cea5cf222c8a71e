/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The fetch engine, see staple_fetch.h for the contract. What lives here: the
 * choice of who is asked next, connections, deadlines, and what a failure
 * means for the certificates that wait behind it. What does not: HTTP itself
 * (staple_http.c), OCSP, and any decision about when to ask.
 *
 * The one idea: a slot is what is scarce, and it is earned. A job waits at its
 * responder, a responder at its site (host and port). Turns go round the
 * sites; one that has not yet answered gets two exchanges at a time, each
 * answer makes room for one more, and a failure takes the room away. So a
 * responder that hangs costs two slots, whatever waits for it, and one that is
 * down is probed by one exchange every few seconds while its other jobs go to
 * their next URL, or fail with the same reason, at once.
 *
 *     job  --submit-->  fresh  --route-->  responder  --start-->  exchange
 *                         ^                                          |
 *                         +------------- its next URL ---------------+--> done
 *
 * Memory: a job is one block of malloc, since ten thousand of them may wait,
 * and so are responders and sites. An exchange and a connection have a pool of
 * their own. Nothing is taken from the engine's pool once it runs, but for the
 * slots of two hash tables, which are used again.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* dladdr, RTLD_NODELETE */
#endif

#include <stddef.h> /* first: the rings of APR want its offsetof */

#include "staple_fetch.h"
#include "staple_http.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_allocator.h>
#include <apr_atomic.h>
#include <apr_errno.h>
#include <apr_hash.h>
#include <apr_network_io.h>
#include <apr_poll.h>
#include <apr_portable.h>
#include <apr_ring.h>
#include <apr_strings.h>

/* Exchanges for a responder that has yet to answer, and failures in a row
 * after which it counts as down: two, so that one bad certificate neither
 * holds up nor condemns the responder of all others. */
#define PROBES 2

/* For how long a responder that is down is left in peace. */
#define REST_FIRST apr_time_from_sec(1)
#define REST_MAX apr_time_from_sec(10)

/* After this long without an exchange, a site has to earn its room again. */
#define SITE_IDLE apr_time_from_sec(10)

/* RFC 8305 section 8, the Connection Attempt Delay. */
#define NEXT_ATTEMPT apr_time_from_msec(250)

/* When to look again for a descriptor or a place at a full address. */
#define RETRY_ATTEMPT apr_time_from_msec(20)

/* For how long a resolved name is believed; getaddrinfo tells no TTL. */
#define NAME_LIFETIME apr_time_from_sec(60)

/* Shorter than the keep-alive of most servers, so that few are stale. */
#define KEEPALIVE apr_time_from_sec(4)

#define ENDPOINTS_MAX 8     /* addresses of a name that are tried */
#define LOOKUPS_MAX 32      /* threads in getaddrinfo, stuck ones included */
#define REDIRECTS_MAX 3
#define REMEMBERED_MAX 4096 /* responders, and sites, before idle ones go */
#define READS_MAX 8         /* of one connection, before others get a turn */
#define FREE_MAX (1024 * 1024) /* bytes kept for the pools to come */

/* "[" IPv6 "]:65535" */
#define PEER_LEN 56

typedef struct job_t job_t;
typedef struct site_t site_t;
typedef struct responder_t responder_t;
typedef struct exchange_t exchange_t;
typedef struct conn_t conn_t;
typedef struct lookup_t lookup_t;

/* How an exchange failed, in a form that outlives it. */
typedef struct failure_t {
    staple_fetch_outcome_e outcome;
    int http_status;
    int url_index;
    apr_time_t retry_at; /* from Retry-After, by the engine's clock; 0: none */
    char peer[PEER_LEN];
    char reason[240];
} failure_t;

/* The circuit breaker of a site or a responder. */
typedef struct health_t {
    int is_proven;      /* whether it has answered before */
    int failures;       /* in a row; PROBES and more: it is down */
    apr_time_t rest_to; /* when a probe may be sent, if it is down */
    failure_t last;     /* of those in a row */
} health_t;

/* One address of a host. */
typedef struct endpoint_t {
    int family;
    char ip[INET6_ADDRSTRLEN];
} endpoint_t;

/* A job that waits or is under way; the strings lie behind it in its block. */
struct job_t {
    APR_RING_ENTRY(job_t) link; /* in fresh, or at a responder */
    staple_fetch_job_t ask;
    int tried;           /* how many of its URLs are left behind */
    apr_time_t started;  /* when its first exchange began; 0: not yet */
    failure_t failure;   /* the last one worth telling */
};
APR_RING_HEAD(jobs_t, job_t);

/* A URL that is asked, and behind it the jobs that wait for it. */
struct responder_t {
    APR_RING_ENTRY(responder_t) link; /* in its site's waiting, if any job is */
    site_t *site;
    struct jobs_t jobs;
    int active;           /* exchanges under way */
    int prefers_post;     /* what worked last, where GET was possible */
    health_t health;      /* by its answers, or their lack */
    char key[];           /* URL, and proxy if any */
};
APR_RING_HEAD(responders_t, responder_t);

/* A host and port, perhaps behind a proxy, where connections are made to. */
struct site_t {
    APR_RING_ENTRY(site_t) link; /* in the engine's waiting, if any job is */
    struct responders_t waiting;
    int active;           /* exchanges under way */
    int window;           /* how many may be: grows with each answer */
    apr_time_t idle_since;
    int users;            /* responders of it, and exchanges at it */
    int is_proxied;
    apr_uint16_t port;    /* to connect to: the proxy's, if any */
    const char *host;     /* likewise; behind the key */
    int is_address;       /* whether host needs no lookup */
    health_t health;      /* by resolving and connecting */
    lookup_t *lookup;     /* under way, or NULL */
    apr_time_t fresh_to;  /* until when the endpoints are believed */
    endpoint_t endpoints[ENDPOINTS_MAX]; /* in the order of RFC 8305 */
    int endpoints_count;
    char preferred[INET6_ADDRSTRLEN]; /* that worked last; "": none */
    char key[];           /* host:port, and proxy if any */
};
APR_RING_HEAD(sites_t, site_t);

/* Where an exchange stands, in order of its life. */
typedef enum {
    RESOLVING,  /* waits for a lookup of its site */
    CONNECTING, /* has attempts under way, or waits for the next one */
    SENDING,    /* has a connection and bytes left to write */
    RECEIVING   /* waits for the rest of the answer */
} exchange_state_e;

/* A job's visit to one responder, redirects and a second method included. */
struct exchange_t {
    APR_RING_ENTRY(exchange_t) link;
    apr_pool_t *pool;
    job_t *job;
    responder_t *responder; /* whose turn and health this counts for */
    site_t *site;           /* where it is asking now */
    exchange_state_e state;
    apr_time_t deadline;
    int is_probe;           /* whether it counts against the unproven */

    staple_http_url_t responder_url;
    staple_http_url_t url;  /* that is asked now */
    int is_post;
    int can_get;            /* whether GET is possible at this responder */
    int is_switched;        /* whether the other method was tried before */
    int is_rejected;        /* whether the judge has seen an answer */
    int is_conditional;     /* whether validators were sent */
    int redirects;

    endpoint_t endpoints[ENDPOINTS_MAX];
    int endpoints_count;
    int next_endpoint;
    int attempts;           /* connections that are being made */
    apr_time_t next_attempt;
    apr_status_t connect_error; /* the most telling one so far */
    int has_failed_reuse;   /* whether only a fresh connection will do */

    conn_t *conn;           /* that carries it */
    const char *request;
    apr_size_t request_len;
    apr_size_t sent;
    apr_size_t received;
    staple_http_parser_t *parser;
    char peer[PEER_LEN];    /* tried last */
};
APR_RING_HEAD(exchanges_t, exchange_t);

typedef enum {
    CONN_CONNECTING, /* an attempt of its exchange */
    CONN_BUSY,       /* carries its exchange */
    CONN_IDLE,       /* kept for another one */
    CONN_DEAD        /* closed; a stale event may still name it */
} conn_state_e;

struct conn_t {
    APR_RING_ENTRY(conn_t) link; /* in conns, or in dead */
    apr_pool_t *pool;
    apr_socket_t *socket;
    apr_pollfd_t pfd;       /* reqevents: 0 while not in the pollset */
    conn_state_e state;
    exchange_t *exchange;   /* NULL: idle */
    int is_reused;
    apr_time_t idle_since;
    char ip[INET6_ADDRSTRLEN];
    char peer[PEER_LEN];    /* ip and port: which connections are alike */
};
APR_RING_HEAD(conns_t, conn_t);

/* Where the lookup threads leave their results. Shared by the engine and each
 * of them, freed by the last. */
typedef struct mailbox_t {
    pthread_mutex_t lock;
    apr_pollset_t *pollset; /* to wake up; NULL: the engine is gone */
    lookup_t *results;
    int refs;
} mailbox_t;

/* One getaddrinfo on a thread that owns this, until it is in the mailbox. */
struct lookup_t {
    lookup_t *next;
    mailbox_t *mailbox;
    site_t *site;           /* not for the thread */
    int error;              /* of getaddrinfo; 0: none */
    int count;
    endpoint_t endpoints[ENDPOINTS_MAX];
    char host[];
};

struct staple_fetch_t {
    apr_pool_t *pool;
    staple_fetch_conf_t conf;
    apr_pollset_t *pollset;
    mailbox_t *mailbox;
    apr_uint32_t is_stopped;   /* written by any thread */
    int is_destroyed;
    int half;                  /* exchanges per site, connections per address */
    int busy;                  /* jobs that wait or are under way */
    int active;                /* exchanges under way */
    int probes;                /* those of responders not yet proven */
    int waiting_sites;         /* how many there are in waiting */
    int lookups;               /* threads under way */
    struct jobs_t fresh;       /* jobs to be routed */
    struct sites_t waiting;    /* sites with waiting jobs, next turn first */
    struct exchanges_t exchanges;
    struct conns_t conns;
    struct conns_t dead;       /* to be freed when no event can name them */
    apr_hash_t *sites;
    apr_hash_t *responders;
    apr_pool_t *scratch;       /* for routing, cleared each time */
};

/* Deadlines must not jump with the wall clock. */
static apr_time_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

const char *staple_fetch_outcome_text(staple_fetch_outcome_e outcome)
{
    switch (outcome) {
    case STAPLE_FETCH_OK:
        return "answered";
    case STAPLE_FETCH_BAD_URL:
        return "not a URL that can be asked";
    case STAPLE_FETCH_DENIED:
        return "address denied by the configuration";
    case STAPLE_FETCH_NO_NAME:
        return "name not resolved";
    case STAPLE_FETCH_REFUSED:
        return "connection refused";
    case STAPLE_FETCH_UNREACHABLE:
        return "no route to the host";
    case STAPLE_FETCH_CONNECT_TIMEOUT:
        return "connection timed out";
    case STAPLE_FETCH_TIMEOUT:
        return "no whole answer in time";
    case STAPLE_FETCH_RESET:
        return "connection broke";
    case STAPLE_FETCH_NOT_HTTP:
        return "answer is not HTTP";
    case STAPLE_FETCH_HTTP_STATUS:
        return "HTTP error";
    case STAPLE_FETCH_TOO_LARGE:
        return "answer too large";
    case STAPLE_FETCH_TRUNCATED:
        return "answer cut short";
    case STAPLE_FETCH_BAD_REDIRECT:
        return "redirect not followed";
    case STAPLE_FETCH_REJECTED:
        return "answer not accepted";
    case STAPLE_FETCH_STOPPED:
        return "stopped";
    case STAPLE_FETCH_SYSTEM:
        return "out of resources";
    case STAPLE_FETCH_NOT_MODIFIED:
        return "not modified";
    }
    return "unknown outcome";
}

/* ---- health ---- */

static int is_down(const health_t *health)
{
    return health->failures >= PROBES;
}

static int is_resting(const health_t *health, apr_time_t now)
{
    return is_down(health) && now < health->rest_to;
}

/* How many exchanges at a time it has earned. */
static int room_of(const health_t *health)
{
    if (is_down(health)) {
        return 1;
    }
    return health->is_proven && !health->failures ? INT_MAX
                                                  : PROBES - health->failures;
}

static void note_success(health_t *health)
{
    health->is_proven = 1;
    health->failures = 0;
}

/* What fails while it rests was sent before and says nothing new. */
static void note_failure(health_t *health, const failure_t *failure,
                         apr_time_t now)
{
    apr_interval_time_t rest = REST_FIRST;
    int i;

    if (is_resting(health, now)) {
        return;
    }
    if (health->failures < INT_MAX) {
        health->failures++;
    }
    health->last = *failure;
    for (i = PROBES; i < health->failures && rest < REST_MAX; i++) {
        rest *= 2;
    }
    health->rest_to = now + (rest < REST_MAX ? rest : REST_MAX);
}

/* ---- name resolution ---- */

/* Addresses with the families taking turns, the first one's first (RFC 8305
 * section 4); IPv4 mapped into IPv6 is what it is. */
static int collect(endpoint_t *endpoints, const struct addrinfo *list)
{
    endpoint_t found[2][ENDPOINTS_MAX];
    int counts[2] = { 0, 0 };
    int first = -1;
    int count = 0;
    int i;

    for (; list; list = list->ai_next) {
        endpoint_t one = { 0 };
        int which = list->ai_family == AF_INET6;
        const void *bytes;

        if (list->ai_family == AF_INET) {
            bytes = &((const struct sockaddr_in *)(const void *)
                      list->ai_addr)->sin_addr;
        }
        else if (list->ai_family == AF_INET6) {
            const struct in6_addr *in6 = &((const struct sockaddr_in6 *)
                (const void *)list->ai_addr)->sin6_addr;

            bytes = in6;
            if (IN6_IS_ADDR_V4MAPPED(in6)) {
                bytes = &in6->s6_addr[12];
                which = 0;
            }
        }
        else {
            continue;
        }
        one.family = which ? AF_INET6 : AF_INET;
        if (counts[which] == ENDPOINTS_MAX
            || !inet_ntop(one.family, bytes, one.ip, sizeof(one.ip))) {
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

/* Called with the lock held, which it gives back. */
static void leave_mailbox(mailbox_t *mailbox)
{
    int refs = --mailbox->refs;

    pthread_mutex_unlock(&mailbox->lock);
    if (!refs) {
        pthread_mutex_destroy(&mailbox->lock);
        free(mailbox);
    }
}

/*
 * The thread of one lookup. It touches nothing but its lookup and the
 * mailbox, so that the engine may go, and the process exit, while the name
 * servers still keep it waiting.
 */
static void *resolve_name(void *data)
{
    lookup_t *lookup = data;
    mailbox_t *mailbox = lookup->mailbox;
    struct addrinfo hints = { 0 };
    struct addrinfo *list = NULL;

    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    lookup->error = getaddrinfo(lookup->host, NULL, &hints, &list);
    if (!lookup->error) {
        lookup->count = collect(lookup->endpoints, list);
        freeaddrinfo(list);
    }
    pthread_mutex_lock(&mailbox->lock);
    if (mailbox->pollset) {
        lookup->next = mailbox->results;
        mailbox->results = lookup;
        apr_pollset_wakeup(mailbox->pollset);
    }
    else {
        free(lookup);
    }
    leave_mailbox(mailbox);
    return NULL;
}

/*
 * Signals belong to the program's own threads. A POSIX thread rather than an
 * APR one: that would take memory from a pool which may be gone before it ends.
 */
static int spawn(lookup_t *lookup)
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
    rc = pthread_create(&thread, &attr, resolve_name, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0;
}

/* Whether a lookup is under way; if not, there is no thread to be had. */
static int start_lookup(staple_fetch_t *fetch, site_t *site)
{
    apr_size_t len = strlen(site->host) + 1;
    lookup_t *lookup = calloc(1, sizeof(*lookup) + len);

    if (!lookup) {
        return 0;
    }
    memcpy(lookup->host, site->host, len);
    lookup->mailbox = fetch->mailbox;
    lookup->site = site;
    pthread_mutex_lock(&fetch->mailbox->lock);
    fetch->mailbox->refs++;
    pthread_mutex_unlock(&fetch->mailbox->lock);
    if (!spawn(lookup)) {
        free(lookup);
        pthread_mutex_lock(&fetch->mailbox->lock);
        leave_mailbox(fetch->mailbox);
        return 0;
    }
    site->lookup = lookup;
    fetch->lookups++;
    return 1;
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


/* ---- sites and responders ---- */

static const char *join_peer(char *peer, const char *ip, apr_uint16_t port)
{
    apr_snprintf(peer, PEER_LEN, strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip,
                 port);
    return peer;
}

/* Whether it may be asked; the literal form was normalised by collect(). */
static int is_allowed(const staple_fetch_t *fetch, const endpoint_t *endpoint,
                      apr_uint16_t port)
{
    return !fetch->conf.is_allowed
           || fetch->conf.is_allowed(fetch->conf.is_allowed_baton,
                                     endpoint->ip, port);
}

/* An address as an endpoint, without asking anybody. */
static int parse_address(endpoint_t endpoints[ENDPOINTS_MAX], const char *host)
{
    struct addrinfo hints = { 0 };
    struct addrinfo *list;
    int count;

    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST;
    if (getaddrinfo(host, NULL, &hints, &list)) {
        return 0;
    }
    count = collect(endpoints, list);
    freeaddrinfo(list);
    return count;
}

/* What was resolved, less what is denied; none left means denied. */
static void set_endpoints(const staple_fetch_t *fetch, site_t *site,
                          const endpoint_t *endpoints, int count)
{
    int i;

    site->endpoints_count = 0;
    for (i = 0; i < count; i++) {
        if (site->is_proxied || is_allowed(fetch, &endpoints[i], site->port)) {
            site->endpoints[site->endpoints_count++] = endpoints[i];
        }
    }
    site->fresh_to = clock_now() + NAME_LIFETIME;
}

/* Forget responders without work, and then sites that nobody uses. */
static void forget_idle(staple_fetch_t *fetch)
{
    apr_hash_index_t *hi;
    void *value;

    for (hi = apr_hash_first(NULL, fetch->responders); hi;
         hi = apr_hash_next(hi)) {
        responder_t *responder;

        apr_hash_this(hi, NULL, NULL, &value);
        responder = value;
        if (!responder->active
            && APR_RING_EMPTY(&responder->jobs, job_t, link)) {
            responder->site->users--;
            apr_hash_set(fetch->responders, responder->key,
                         APR_HASH_KEY_STRING, NULL);
            free(responder);
        }
    }
    for (hi = apr_hash_first(NULL, fetch->sites); hi;
         hi = apr_hash_next(hi)) {
        site_t *site;

        apr_hash_this(hi, NULL, NULL, &value);
        site = value;
        if (!site->users && !site->lookup) {
            apr_hash_set(fetch->sites, site->key, APR_HASH_KEY_STRING, NULL);
            free(site);
        }
    }
}

static site_t *make_site(staple_fetch_t *fetch, const char *key,
                         const staple_http_url_t *target, int is_proxied)
{
    apr_size_t key_len = strlen(key) + 1;
    apr_size_t host_len = strlen(target->host) + 1;
    site_t *site = calloc(1, sizeof(*site) + key_len + host_len);
    endpoint_t endpoints[ENDPOINTS_MAX];

    if (!site) {
        return NULL;
    }
    memcpy(site->key, key, key_len);
    memcpy(site->key + key_len, target->host, host_len);
    site->host = site->key + key_len;
    site->port = target->port;
    site->is_proxied = is_proxied;
    site->is_address = target->is_address;
    site->window = PROBES;
    APR_RING_INIT(&site->waiting, responder_t, link);
    if (site->is_address) {
        set_endpoints(fetch, site, endpoints,
                      parse_address(endpoints, site->host));
    }
    apr_hash_set(fetch->sites, site->key, APR_HASH_KEY_STRING, site);
    return site;
}

/* The site of a URL; behind a proxy each host still has one of its own. */
static site_t *find_site(staple_fetch_t *fetch, const staple_http_url_t *url,
                         const staple_http_url_t *proxy, apr_pool_t *p)
{
    const char *key = apr_pstrcat(p, url->authority, proxy ? " via " : NULL,
                                  proxy ? proxy->authority : NULL, NULL);
    site_t *site = apr_hash_get(fetch->sites, key, APR_HASH_KEY_STRING);

    if (site) {
        return site;
    }
    if (apr_hash_count(fetch->sites) >= REMEMBERED_MAX) {
        forget_idle(fetch);
    }
    return make_site(fetch, key, proxy ? proxy : url, proxy != NULL);
}

static responder_t *find_responder(staple_fetch_t *fetch,
                                   const staple_http_url_t *url,
                                   const staple_http_url_t *proxy,
                                   apr_pool_t *p)
{
    const char *key = apr_pstrcat(p, url->text, proxy ? " via " : NULL,
                                  proxy ? proxy->authority : NULL, NULL);
    responder_t *responder = apr_hash_get(fetch->responders, key,
                                          APR_HASH_KEY_STRING);
    apr_size_t len = strlen(key) + 1;
    site_t *site;

    if (responder) {
        return responder;
    }
    if (apr_hash_count(fetch->responders) >= REMEMBERED_MAX) {
        forget_idle(fetch);
    }
    site = find_site(fetch, url, proxy, p);
    responder = site ? calloc(1, sizeof(*responder) + len) : NULL;
    if (!responder) {
        return NULL;
    }
    memcpy(responder->key, key, len);
    responder->site = site;
    site->users++;
    APR_RING_INIT(&responder->jobs, job_t, link);
    apr_hash_set(fetch->responders, responder->key, APR_HASH_KEY_STRING,
                 responder);
    return responder;
}

static void queue_job(staple_fetch_t *fetch, responder_t *responder,
                      job_t *job)
{
    site_t *site = responder->site;

    if (APR_RING_EMPTY(&site->waiting, responder_t, link)) {
        APR_RING_INSERT_TAIL(&fetch->waiting, site, site_t, link);
        fetch->waiting_sites++;
    }
    if (APR_RING_EMPTY(&responder->jobs, job_t, link)) {
        APR_RING_INSERT_TAIL(&site->waiting, responder, responder_t, link);
    }
    APR_RING_INSERT_TAIL(&responder->jobs, job, job_t, link);
}

/* The job whose turn it is; its responder and site go behind all others. */
static job_t *take_job(staple_fetch_t *fetch, responder_t *responder)
{
    site_t *site = responder->site;
    job_t *job = APR_RING_FIRST(&responder->jobs);

    APR_RING_REMOVE(job, link);
    APR_RING_REMOVE(responder, link);
    if (!APR_RING_EMPTY(&responder->jobs, job_t, link)) {
        APR_RING_INSERT_TAIL(&site->waiting, responder, responder_t, link);
    }
    APR_RING_REMOVE(site, link);
    if (!APR_RING_EMPTY(&site->waiting, responder_t, link)) {
        APR_RING_INSERT_TAIL(&fetch->waiting, site, site_t, link);
    }
    else {
        fetch->waiting_sites--;
    }
    return job;
}

/* ---- the ends of a job ---- */

static int url_index(const job_t *job)
{
    return (job->ask.first_url + job->tried) % job->ask.urls_count;
}

static void init_answer(staple_fetch_answer_t *answer, const job_t *job,
                        int index)
{
    static const staple_fetch_answer_t none;

    *answer = none;
    answer->url_index = index;
    answer->url = job->ask.urls[index];
    answer->peer = answer->reason = "";
    answer->retry_after = answer->fresh_for = -1;
    answer->is_asked = job->started != 0;
    answer->took = job->started ? clock_now() - job->started : 0;
}

/* What an exchange has read, whole. */
static void add_response(staple_fetch_answer_t *answer, const exchange_t *ex)
{
    const staple_http_response_t *response = staple_http_response(ex->parser);
    apr_time_t now = apr_time_now();

    answer->http_status = response->status;
    answer->peer = ex->peer;
    answer->body = response->body;
    answer->body_len = response->body_len;
    answer->is_typed = response->is_typed;
    answer->etag = response->etag;
    answer->last_modified = response->last_modified;
    answer->retry_after = staple_http_retry_after(response, now);
    answer->fresh_for = staple_http_fresh_for(response, now);
}

static void end_job(staple_fetch_t *fetch, job_t *job,
                    const staple_fetch_answer_t *answer)
{
    fetch->busy--;
    job->ask.done(job->ask.baton, answer);
    free(job);
}

/* The job's round has failed; ex is the exchange of its last failure, if it
 * had an answer to reject. */
static void end_failed(staple_fetch_t *fetch, job_t *job, const exchange_t *ex)
{
    const failure_t *failure = &job->failure;
    staple_fetch_answer_t answer;

    init_answer(&answer, job, failure->url_index);
    if (ex) {
        add_response(&answer, ex);
    }
    answer.outcome = failure->outcome;
    answer.http_status = failure->http_status;
    answer.peer = failure->peer;
    answer.reason = failure->reason;
    if (failure->retry_at) {
        answer.retry_after = failure->retry_at - clock_now();
        if (answer.retry_after < 0) {
            answer.retry_after = 0;
        }
    }
    end_job(fetch, job, &answer);
}

static void init_failure(failure_t *failure, const job_t *job,
                         staple_fetch_outcome_e outcome)
{
    static const failure_t none;

    *failure = none;
    failure->outcome = outcome;
    failure->url_index = url_index(job);
}

/* To the job's next URL, or to its end. A URL that cannot be asked does not
 * hide what befell one that was. */
static void pass_on(staple_fetch_t *fetch, job_t *job,
                    const failure_t *failure, const exchange_t *ex)
{
    int has_answer;

    if (failure->outcome != STAPLE_FETCH_BAD_URL
        || job->failure.outcome == STAPLE_FETCH_OK) {
        int index = url_index(job);

        job->failure = *failure;
        job->failure.url_index = index;
    }
    if (++job->tried < job->ask.urls_count) {
        APR_RING_INSERT_TAIL(&fetch->fresh, job, job_t, link);
        return;
    }
    has_answer = ex && failure->outcome == STAPLE_FETCH_REJECTED
                 && staple_http_response(ex->parser)->status == 200;
    end_failed(fetch, job, has_answer ? ex : NULL);
}

static void pass_on_as(staple_fetch_t *fetch, job_t *job,
                       staple_fetch_outcome_e outcome, const char *reason)
{
    failure_t failure;

    init_failure(&failure, job, outcome);
    apr_cpystrn(failure.reason, reason, sizeof(failure.reason));
    pass_on(fetch, job, &failure, NULL);
}

/* ---- connections ---- */

static void unwatch(staple_fetch_t *fetch, conn_t *conn)
{
    if (conn->pfd.reqevents) {
        apr_pollset_remove(fetch->pollset, &conn->pfd);
        conn->pfd.reqevents = 0;
    }
}

static apr_status_t watch(staple_fetch_t *fetch, conn_t *conn,
                          apr_int16_t events)
{
    apr_status_t rv;

    if (conn->pfd.reqevents == events) {
        return APR_SUCCESS;
    }
    unwatch(fetch, conn);
    conn->pfd.desc_type = APR_POLL_SOCKET;
    conn->pfd.desc.s = conn->socket;
    conn->pfd.client_data = conn;
    conn->pfd.reqevents = events;
    rv = apr_pollset_add(fetch->pollset, &conn->pfd);
    if (rv != APR_SUCCESS) {
        conn->pfd.reqevents = 0;
    }
    return rv;
}

/* Events of this round may still name it, so it is freed by bury(). */
static void close_conn(staple_fetch_t *fetch, conn_t *conn)
{
    exchange_t *ex = conn->exchange;

    if (ex && ex->conn == conn) {
        ex->conn = NULL;
    }
    else if (ex) {
        ex->attempts--;
    }
    unwatch(fetch, conn);
    apr_socket_close(conn->socket);
    conn->state = CONN_DEAD;
    conn->exchange = NULL;
    APR_RING_REMOVE(conn, link);
    APR_RING_INSERT_TAIL(&fetch->dead, conn, conn_t, link);
}

static void bury(staple_fetch_t *fetch)
{
    while (!APR_RING_EMPTY(&fetch->dead, conn_t, link)) {
        conn_t *conn = APR_RING_FIRST(&fetch->dead);

        APR_RING_REMOVE(conn, link);
        apr_pool_destroy(conn->pool);
    }
}

/* Close the idle ones that stood idle since before then; how many. */
static int close_idle(staple_fetch_t *fetch, apr_time_t then)
{
    conn_t *conn, *next;
    int count = 0;

    APR_RING_FOREACH_SAFE(conn, next, &fetch->conns, conn_t, link) {
        if (conn->state == CONN_IDLE && conn->idle_since <= then) {
            close_conn(fetch, conn);
            count++;
        }
    }
    return count;
}

/* Keep the connection for whoever is next; of too many the oldest goes. */
static void keep_conn(staple_fetch_t *fetch, conn_t *conn)
{
    conn_t *other, *oldest = NULL;
    int count = 0;

    if (watch(fetch, conn, APR_POLLIN) != APR_SUCCESS) {
        close_conn(fetch, conn);
        return;
    }
    conn->exchange->conn = NULL;
    conn->exchange = NULL;
    conn->state = CONN_IDLE;
    conn->idle_since = clock_now();
    APR_RING_REMOVE(conn, link);
    APR_RING_INSERT_HEAD(&fetch->conns, conn, conn_t, link);
    APR_RING_FOREACH(other, &fetch->conns, conn_t, link) {
        if (other->state == CONN_IDLE) {
            oldest = other;
            count++;
        }
    }
    if (count > fetch->conf.concurrency) {
        close_conn(fetch, oldest);
    }
}

static conn_t *find_idle(staple_fetch_t *fetch, const char *peer)
{
    conn_t *conn;

    APR_RING_FOREACH(conn, &fetch->conns, conn_t, link) {
        if (conn->state == CONN_IDLE && !strcmp(conn->peer, peer)) {
            return conn;
        }
    }
    return NULL;
}

/* Whether an address has all the connections that it may be given. A proxy is
 * not a responder: behind it the sites are counted. */
static int is_full(const staple_fetch_t *fetch, const site_t *site,
                   const char *ip)
{
    char peer[PEER_LEN];
    conn_t *conn;
    int count = 0;

    if (site->is_proxied) {
        return 0;
    }
    join_peer(peer, ip, site->port);
    APR_RING_FOREACH(conn, &fetch->conns, conn_t, link) {
        count += conn->state != CONN_IDLE && !strcmp(conn->peer, peer);
    }
    return count >= fetch->half;
}

static apr_status_t connect_socket(conn_t *conn, const endpoint_t *endpoint,
                                   apr_uint16_t port)
{
    apr_sockaddr_t *sa;
    apr_status_t rv;

    rv = apr_sockaddr_info_get(&sa, endpoint->ip, endpoint->family, port, 0,
                               conn->pool);
    if (rv == APR_SUCCESS) {
        rv = apr_socket_create(&conn->socket, endpoint->family, SOCK_STREAM,
                               APR_PROTO_TCP, conn->pool);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_socket_opt_set(conn->socket, APR_TCP_NODELAY, 1);
    rv = apr_socket_timeout_set(conn->socket, 0);
    return rv == APR_SUCCESS ? apr_socket_connect(conn->socket, sa) : rv;
}

/*
 * Begin to connect.
 * Returns APR_SUCCESS where that is done already, APR_EINPROGRESS, or why not;
 * *made is set in the first two cases.
 */
static apr_status_t open_conn(staple_fetch_t *fetch, exchange_t *ex,
                              const endpoint_t *endpoint, conn_t **made)
{
    apr_pool_t *pool;
    conn_t *conn;
    apr_status_t rv;

    rv = apr_pool_create(&pool, fetch->pool);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    conn = apr_pcalloc(pool, sizeof(*conn));
    conn->pool = pool;
    rv = connect_socket(conn, endpoint, ex->site->port);
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EINPROGRESS(rv)) {
        apr_pool_destroy(pool);
        return rv;
    }
    apr_cpystrn(conn->ip, endpoint->ip, sizeof(conn->ip));
    join_peer(conn->peer, conn->ip, ex->site->port);
    conn->state = CONN_CONNECTING;
    conn->exchange = ex;
    ex->attempts++;
    APR_RING_INSERT_TAIL(&fetch->conns, conn, conn_t, link);
    *made = conn;
    if (rv != APR_SUCCESS
        && (rv = watch(fetch, conn, APR_POLLOUT)) == APR_SUCCESS) {
        return APR_EINPROGRESS;
    }
    if (rv != APR_SUCCESS) {
        close_conn(fetch, conn);
    }
    return rv;
}

/* How an attempt that was in progress ended. */
static apr_status_t connect_result(const conn_t *conn)
{
    apr_os_sock_t fd;
    int error = 0;
    socklen_t len = sizeof(error);

    if (apr_os_sock_get(&fd, conn->socket) != APR_SUCCESS
        || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len)) {
        return APR_EGENERAL;
    }
    return error ? APR_FROM_OS_ERROR(error) : APR_SUCCESS;
}

static void drop_conns(staple_fetch_t *fetch, const exchange_t *ex,
                       const conn_t *but)
{
    conn_t *conn, *next;

    APR_RING_FOREACH_SAFE(conn, next, &fetch->conns, conn_t, link) {
        if (conn->exchange == ex && conn != but) {
            close_conn(fetch, conn);
        }
    }
}

/* ---- the ends of an exchange ---- */

/* The room that a site has earned grows with each of its answers. */
static void note_answer(staple_fetch_t *fetch, exchange_t *ex)
{
    site_t *site = ex->responder->site;

    note_success(&ex->responder->health);
    if (site->window < fetch->half) {
        site->window++;
    }
}

/* Give everything back but the pool, which the caller may still read. */
static void leave(staple_fetch_t *fetch, exchange_t *ex)
{
    site_t *site = ex->responder->site;

    drop_conns(fetch, ex, NULL);
    APR_RING_REMOVE(ex, link);
    fetch->active--;
    fetch->probes -= ex->is_probe;
    ex->responder->active--;
    site->active--;
    site->idle_since = clock_now();
    ex->site->users--;
}

/* Whether a status says that the responder, not the certificate, is the
 * matter. */
static int is_overload(int status)
{
    return status == 429 || (status >= 502 && status <= 504);
}

/* Who is to blame: the site that cannot be reached, the responder that does
 * not answer, or neither. */
static void note_outcome(staple_fetch_t *fetch, exchange_t *ex,
                         const failure_t *failure)
{
    apr_time_t now = clock_now();

    switch (failure->outcome) {
    case STAPLE_FETCH_NO_NAME:
    case STAPLE_FETCH_REFUSED:
    case STAPLE_FETCH_UNREACHABLE:
    case STAPLE_FETCH_CONNECT_TIMEOUT:
        note_failure(&ex->site->health, failure, now);
        ex->site->window = PROBES;
        if (!ex->site->is_address) {
            ex->site->fresh_to = 0; /* it may have moved */
        }
        if (ex->site == ex->responder->site) {
            break;
        }
        /* fall through */
    case STAPLE_FETCH_TIMEOUT:
    case STAPLE_FETCH_RESET:
    case STAPLE_FETCH_NOT_HTTP:
    case STAPLE_FETCH_TRUNCATED:
        note_failure(&ex->responder->health, failure, now);
        break;
    case STAPLE_FETCH_HTTP_STATUS:
        if (is_overload(failure->http_status)) {
            note_failure(&ex->responder->health, failure, now);
            break;
        }
        /* fall through */
    case STAPLE_FETCH_TOO_LARGE:
    case STAPLE_FETCH_BAD_REDIRECT:
    case STAPLE_FETCH_REJECTED:
        note_answer(fetch, ex);
        break;
    default:
        break;
    }
}

/* The exchange has failed; the job goes on to its next URL. */
__attribute__((format(printf, 4, 5)))
static void fail(staple_fetch_t *fetch, exchange_t *ex,
                 staple_fetch_outcome_e outcome, const char *fmt, ...)
{
    failure_t failure;
    va_list ap;

    init_failure(&failure, ex->job, outcome);
    va_start(ap, fmt);
    apr_vsnprintf(failure.reason, sizeof(failure.reason), fmt, ap);
    va_end(ap);
    apr_cpystrn(failure.peer, ex->peer, sizeof(failure.peer));
    if (ex->parser) {
        const staple_http_response_t *response
            = staple_http_response(ex->parser);
        apr_interval_time_t after
            = staple_http_retry_after(response, apr_time_now());

        failure.http_status = response->status;
        failure.retry_at = after < 0 ? 0 : clock_now() + after;
    }
    note_outcome(fetch, ex, &failure);
    leave(fetch, ex);
    pass_on(fetch, ex->job, &failure, ex);
    apr_pool_destroy(ex->pool);
}

static void succeed(staple_fetch_t *fetch, exchange_t *ex,
                    staple_fetch_outcome_e outcome)
{
    staple_fetch_answer_t answer;

    init_answer(&answer, ex->job, url_index(ex->job));
    add_response(&answer, ex);
    answer.outcome = outcome;
    answer.reason = staple_fetch_outcome_text(outcome);
    note_answer(fetch, ex);
    if (ex->is_switched) {
        ex->responder->prefers_post = ex->is_post;
    }
    leave(fetch, ex);
    end_job(fetch, ex->job, &answer);
    apr_pool_destroy(ex->pool);
}

/* Where it connects to, for a reason: "ocsp.example:80". */
static const char *where(const exchange_t *ex)
{
    const site_t *site = ex->site;

    return apr_psprintf(ex->pool,
                        strchr(site->host, ':') ? "%s[%s]:%u" : "%s%s:%u",
                        site->is_proxied ? "the proxy " : "", site->host,
                        site->port);
}

static const char *error_text(const exchange_t *ex, apr_status_t rv)
{
    char *text = apr_palloc(ex->pool, 80);

    return apr_strerror(rv, text, 80);
}

static int is_unreachable(apr_status_t rv)
{
    return APR_STATUS_IS_ENETUNREACH(rv) || APR_STATUS_IS_EHOSTUNREACH(rv)
           || APR_STATUS_IS_EACCES(rv) || rv == EPERM || rv == EAFNOSUPPORT
           || rv == EADDRNOTAVAIL;
}

/* What lasts only until something else is closed. */
static int is_scarcity(apr_status_t rv)
{
    return rv == EMFILE || rv == ENFILE || rv == ENOBUFS
           || APR_STATUS_IS_ENOMEM(rv);
}

/* No address could be connected to. */
static void fail_connect(staple_fetch_t *fetch, exchange_t *ex)
{
    apr_status_t rv = ex->connect_error;

    if (APR_STATUS_IS_ECONNREFUSED(rv)) {
        fail(fetch, ex, STAPLE_FETCH_REFUSED,
             "connection refused: does anything listen at %s?", where(ex));
    }
    else if (APR_STATUS_IS_ETIMEDOUT(rv) || APR_STATUS_IS_TIMEUP(rv)) {
        fail(fetch, ex, STAPLE_FETCH_CONNECT_TIMEOUT,
             "connection timed out: is outbound traffic to %s allowed?",
             where(ex));
    }
    else if (is_unreachable(rv)) {
        fail(fetch, ex, STAPLE_FETCH_UNREACHABLE,
             "no route to %s (%s): is outbound traffic to it allowed?",
             where(ex), error_text(ex, rv));
    }
    else if (APR_STATUS_IS_ECONNRESET(rv)) {
        fail(fetch, ex, STAPLE_FETCH_RESET,
             "the connection to %s was reset at once", where(ex));
    }
    else {
        fail(fetch, ex, STAPLE_FETCH_SYSTEM, "no connection to %s: %s",
             where(ex), error_text(ex, rv));
    }
}

/* The deadline has passed; what was it waiting for? */
static void expire(staple_fetch_t *fetch, exchange_t *ex)
{
    int seconds = (int)apr_time_sec(ex->job->ask.timeout + 500000);

    if (ex->state == RESOLVING) {
        fail(fetch, ex, STAPLE_FETCH_NO_NAME,
             "the name %s was not resolved in time: do the name servers"
             " answer?", ex->site->host);
    }
    else if (ex->state == CONNECTING && ex->attempts) {
        ex->connect_error = APR_TIMEUP;
        fail_connect(fetch, ex);
    }
    else if (ex->state == CONNECTING && ex->connect_error) {
        fail_connect(fetch, ex);
    }
    else if (ex->state == CONNECTING) {
        fail(fetch, ex, STAPLE_FETCH_TIMEOUT,
             "all connections that %s may be given are in use", where(ex));
    }
    else {
        fail(fetch, ex, STAPLE_FETCH_TIMEOUT,
             "no whole answer of %s within %d s (%" APR_SIZE_T_FMT
             " bytes came)", where(ex), seconds, ex->received);
    }
}

/* ---- an exchange, step by step ---- */

static void connect_exchange(staple_fetch_t *fetch, exchange_t *ex);
static void visit(staple_fetch_t *fetch, exchange_t *ex, site_t *site);

/* Back to the responder with the other method, if there is one left. */
static int switch_method(staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_fetch_job_t *ask = &ex->job->ask;

    if (ex->is_switched || !ex->can_get) {
        return 0;
    }
    ex->is_switched = 1;
    ex->is_post = !ex->is_post;
    ex->url = ex->responder_url;
    if (!ex->is_post) {
        staple_http_url_for_get(&ex->url, &ex->responder_url, ask->request,
                                ask->request_len, ex->pool);
    }
    visit(fetch, ex, ex->responder->site);
    return 1;
}

/* Statuses that say no more than that the responder dislikes the method. */
static int may_switch(int status)
{
    return status == 400 || status == 403 || status == 404 || status == 405
           || status == 414 || status == 501;
}

static int is_redirect(const staple_http_response_t *response)
{
    int status = response->status;

    return (status == 301 || status == 302 || status == 303 || status == 307
            || status == 308)
           && response->location;
}

static int parse_proxy(const job_t *job, staple_http_url_t *proxy,
                       apr_pool_t *p)
{
    return staple_http_url_parse(proxy, job->ask.proxy, p)
           == STAPLE_HTTP_URL_OK;
}

/* RFC 9110 15.4; a POST stays one, but for 303. */
static void redirect(staple_fetch_t *fetch, exchange_t *ex,
                     const staple_http_response_t *response)
{
    staple_http_url_t url, proxy;
    staple_http_url_e reason;
    site_t *site;

    if (ex->redirects++ == REDIRECTS_MAX) {
        fail(fetch, ex, STAPLE_FETCH_BAD_REDIRECT,
             "%s redirects more than %d times", where(ex), REDIRECTS_MAX);
        return;
    }
    reason = staple_http_url_resolve(&url, &ex->url, response->location,
                                     ex->pool);
    if (reason != STAPLE_HTTP_URL_OK) {
        fail(fetch, ex, STAPLE_FETCH_BAD_REDIRECT,
             "%s redirects to a URL that %s", where(ex),
             staple_http_url_text(reason));
        return;
    }
    if (ex->job->ask.proxy) {
        parse_proxy(ex->job, &proxy, ex->pool);
    }
    site = find_site(fetch, &url, ex->job->ask.proxy ? &proxy : NULL,
                     ex->pool);
    if (!site) {
        fail(fetch, ex, STAPLE_FETCH_SYSTEM, "out of memory");
        return;
    }
    ex->url = url;
    ex->is_post = ex->is_post && response->status != 303;
    visit(fetch, ex, site);
}

static void reject(staple_fetch_t *fetch, exchange_t *ex)
{
    fail(fetch, ex, STAPLE_FETCH_REJECTED,
         "the answer of %s was not accepted", where(ex));
}

static void judge(staple_fetch_t *fetch, exchange_t *ex)
{
    staple_fetch_answer_t answer;

    init_answer(&answer, ex->job, url_index(ex->job));
    add_response(&answer, ex);
    answer.reason = staple_fetch_outcome_text(STAPLE_FETCH_OK);
    if (!ex->job->ask.judge
        || ex->job->ask.judge(ex->job->ask.baton, &answer)) {
        succeed(fetch, ex, STAPLE_FETCH_OK);
    }
    else {
        ex->is_rejected = 1;
        if (!switch_method(fetch, ex)) {
            reject(fetch, ex);
        }
    }
}

/* A response was read, whole unless only its status counts. */
static void answered(staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_http_response_t *response = staple_http_response(ex->parser);

    if (response->is_reusable) {
        keep_conn(fetch, ex->conn);
    }
    else {
        close_conn(fetch, ex->conn);
    }
    if (response->status == 200) {
        judge(fetch, ex);
    }
    else if (response->status == 304 && ex->is_conditional) {
        succeed(fetch, ex, STAPLE_FETCH_NOT_MODIFIED);
    }
    else if (is_redirect(response)) {
        redirect(fetch, ex, response);
    }
    else if (may_switch(response->status) && switch_method(fetch, ex)) {
        return;
    }
    else if (ex->is_rejected) {
        reject(fetch, ex); /* that the other method failed tells less */
    }
    else {
        fail(fetch, ex, STAPLE_FETCH_HTTP_STATUS,
             "%s answered with HTTP status %d to %s", where(ex),
             response->status, ex->is_post ? "POST" : "GET");
    }
}

/* The connection broke. One that was reused may have been closed just as it
 * was taken: that is no failure, and a fresh one is made, once. */
static void lost(staple_fetch_t *fetch, exchange_t *ex, apr_status_t rv)
{
    if (ex->conn->is_reused && !ex->received && !ex->has_failed_reuse) {
        close_conn(fetch, ex->conn);
        ex->has_failed_reuse = 1;
        connect_exchange(fetch, ex);
    }
    else if (APR_STATUS_IS_EOF(rv)) {
        fail(fetch, ex, STAPLE_FETCH_RESET,
             "%s closed the connection without an answer", where(ex));
    }
    else {
        fail(fetch, ex, STAPLE_FETCH_RESET, "the connection to %s broke: %s",
             where(ex), error_text(ex, rv));
    }
}

static void spoiled(staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_http_response_t *response = staple_http_response(ex->parser);
    staple_http_fault_e fault = staple_http_fault(ex->parser);
    staple_fetch_outcome_e outcome = STAPLE_FETCH_NOT_HTTP;

    if (fault == STAPLE_HTTP_NO_ANSWER) {
        lost(fetch, ex, APR_EOF);
        return;
    }
    if (staple_http_has_head(ex->parser) && response->status != 200) {
        answered(fetch, ex); /* nobody reads the body of an error */
        return;
    }
    if (fault == STAPLE_HTTP_BODY_TOO_LARGE) {
        outcome = STAPLE_FETCH_TOO_LARGE;
    }
    else if (fault == STAPLE_HTTP_TRUNCATED) {
        outcome = STAPLE_FETCH_TRUNCATED;
    }
    fail(fetch, ex, outcome, "the answer of %s %s", where(ex),
         staple_http_fault_text(fault));
}

static void receive(staple_fetch_t *fetch, exchange_t *ex)
{
    char bytes[8192];
    int i;

    for (i = 0; i < READS_MAX; i++) {
        apr_size_t len = sizeof(bytes);
        apr_status_t rv = apr_socket_recv(ex->conn->socket, bytes, &len);
        staple_http_state_e state;
        apr_size_t used;

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return;
        }
        if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv)) {
            lost(fetch, ex, rv);
            return;
        }
        ex->received += rv == APR_SUCCESS ? len : 0;
        state = rv == APR_SUCCESS
              ? staple_http_feed(ex->parser, bytes, len, &used)
              : staple_http_close(ex->parser);
        if (state == STAPLE_HTTP_AT_END) {
            answered(fetch, ex);
            return;
        }
        if (state == STAPLE_HTTP_AT_FAULT) {
            spoiled(fetch, ex);
            return;
        }
        if (len < sizeof(bytes)) {
            return; /* the pollset will tell of more */
        }
    }
}

/* Write what the socket takes; whether the exchange still has it. */
static int send_rest(staple_fetch_t *fetch, exchange_t *ex)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && ex->sent < ex->request_len) {
        apr_size_t len = ex->request_len - ex->sent;

        rv = apr_socket_send(ex->conn->socket, ex->request + ex->sent, &len);
        ex->sent += len;
    }
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) {
        lost(fetch, ex, rv);
        return 0;
    }
    ex->state = ex->sent < ex->request_len ? SENDING : RECEIVING;
    rv = watch(fetch, ex->conn,
               ex->state == SENDING ? APR_POLLIN | APR_POLLOUT : APR_POLLIN);
    if (rv != APR_SUCCESS) {
        fail(fetch, ex, STAPLE_FETCH_SYSTEM,
             "the connection to %s cannot be watched: %s", where(ex),
             error_text(ex, rv));
        return 0;
    }
    return 1;
}

/* The exchange has its connection: what else was tried is dropped, and the
 * request is written. */
static void begin_sending(staple_fetch_t *fetch, exchange_t *ex, conn_t *conn)
{
    staple_http_limits_t limits = staple_http_limits(fetch->conf.max_body);
    const staple_fetch_job_t *job = &ex->job->ask;
    staple_http_ask_t ask = { 0 };

    drop_conns(fetch, ex, conn);
    conn->state = CONN_BUSY;
    conn->exchange = ex;
    ex->conn = conn;
    ex->attempts = 0;
    apr_cpystrn(ex->peer, conn->peer, sizeof(ex->peer));
    note_success(&ex->site->health);
    apr_cpystrn(ex->site->preferred, conn->ip, sizeof(ex->site->preferred));

    ask.user_agent = fetch->conf.user_agent;
    ask.is_proxied = ex->site->is_proxied;
    if (ex->is_post) {
        ask.body = job->request;
        ask.body_len = job->request_len;
    }
    else {
        ask.if_none_match = job->if_none_match;
        ask.if_modified_since = job->if_modified_since;
    }
    ex->is_conditional = ask.if_none_match || ask.if_modified_since;
    ex->request = staple_http_request(&ex->url, &ask, &ex->request_len,
                                      ex->pool);
    ex->parser = staple_http_parser_create(&limits, ex->pool);
    ex->sent = ex->received = 0;
    send_rest(fetch, ex);
}

/* The error of an address that was refused tells more than that of one for
 * which there is no route. */
static void note_connect_error(exchange_t *ex, const char *ip, apr_status_t rv)
{
    if (!ex->connect_error || is_unreachable(ex->connect_error)
        || is_scarcity(ex->connect_error)) {
        ex->connect_error = rv;
        join_peer(ex->peer, ip, ex->site->port);
    }
}

/* Happy Eyeballs: start the next attempt, once those before it had their time
 * or failed. */
static void attempt(staple_fetch_t *fetch, exchange_t *ex)
{
    while (ex->next_endpoint < ex->endpoints_count) {
        const endpoint_t *endpoint = &ex->endpoints[ex->next_endpoint];
        conn_t *conn;
        apr_status_t rv;

        if (is_full(fetch, ex->site, endpoint->ip)) {
            ex->next_attempt = clock_now() + RETRY_ATTEMPT;
            return;
        }
        rv = open_conn(fetch, ex, endpoint, &conn);
        if (is_scarcity(rv)) {
            note_connect_error(ex, endpoint->ip, rv);
            close_idle(fetch, clock_now());
            ex->next_attempt = clock_now() + RETRY_ATTEMPT;
            return;
        }
        ex->next_endpoint++;
        if (rv == APR_SUCCESS) {
            begin_sending(fetch, ex, conn);
            return;
        }
        if (APR_STATUS_IS_EINPROGRESS(rv)) {
            join_peer(ex->peer, endpoint->ip, ex->site->port);
            ex->next_attempt = clock_now() + NEXT_ATTEMPT;
            return;
        }
        note_connect_error(ex, endpoint->ip, rv);
    }
    if (!ex->attempts) {
        fail_connect(fetch, ex);
    }
}

/* An attempt that was in progress has come to its end. */
static void end_attempt(staple_fetch_t *fetch, conn_t *conn)
{
    exchange_t *ex = conn->exchange;
    apr_status_t rv = connect_result(conn);

    if (rv == APR_SUCCESS) {
        begin_sending(fetch, ex, conn);
        return;
    }
    note_connect_error(ex, conn->ip, rv);
    close_conn(fetch, conn);
    attempt(fetch, ex);
}

/* The site's addresses, the one that worked last in front. */
static void take_endpoints(exchange_t *ex)
{
    const site_t *site = ex->site;
    int i;

    ex->endpoints_count = ex->next_endpoint = 0;
    for (i = 0; i < site->endpoints_count; i++) {
        if (!strcmp(site->endpoints[i].ip, site->preferred)) {
            ex->endpoints[ex->endpoints_count++] = site->endpoints[i];
        }
    }
    for (i = 0; i < site->endpoints_count; i++) {
        if (strcmp(site->endpoints[i].ip, site->preferred)) {
            ex->endpoints[ex->endpoints_count++] = site->endpoints[i];
        }
    }
}

/* Take an idle connection to one of the addresses, or make one. */
static void connect_exchange(staple_fetch_t *fetch, exchange_t *ex)
{
    char peer[PEER_LEN];
    conn_t *conn = NULL;
    int i;

    take_endpoints(ex);
    ex->connect_error = APR_SUCCESS;
    ex->state = CONNECTING;
    for (i = 0; !ex->has_failed_reuse && !conn && i < ex->endpoints_count;
         i++) {
        join_peer(peer, ex->endpoints[i].ip, ex->site->port);
        conn = is_full(fetch, ex->site, ex->endpoints[i].ip)
             ? NULL : find_idle(fetch, peer);
    }
    if (conn) {
        conn->is_reused = 1;
        begin_sending(fetch, ex, conn);
        return;
    }
    ex->next_attempt = 0;
    attempt(fetch, ex);
}

static void resolve(staple_fetch_t *fetch, exchange_t *ex)
{
    site_t *site = ex->site;

    if (site->is_address || clock_now() < site->fresh_to) {
        if (!site->endpoints_count) {
            fail(fetch, ex, STAPLE_FETCH_DENIED,
                 "the address of %s is denied by the configuration",
                 where(ex));
            return;
        }
        connect_exchange(fetch, ex);
        return;
    }
    if (!site->lookup && fetch->lookups < LOOKUPS_MAX
        && !start_lookup(fetch, site)) {
        fail(fetch, ex, STAPLE_FETCH_SYSTEM,
             "no thread could be started to resolve %s", site->host);
    }
}

/* A proxy resolves names itself, so only an address can be judged here. */
static int is_denied_literal(const staple_fetch_t *fetch, const exchange_t *ex)
{
    endpoint_t endpoints[ENDPOINTS_MAX];

    return ex->site->is_proxied && ex->url.is_address
           && (!parse_address(endpoints, ex->url.host)
               || !is_allowed(fetch, &endpoints[0], ex->url.port));
}

/* Go, with a slot already held, and ask ex->url at its site. */
static void visit(staple_fetch_t *fetch, exchange_t *ex, site_t *site)
{
    site->users++;
    if (ex->site) {
        ex->site->users--;
    }
    ex->site = site;
    ex->state = RESOLVING;
    ex->has_failed_reuse = 0;
    ex->parser = NULL;
    if (is_denied_literal(fetch, ex)) {
        fail(fetch, ex, STAPLE_FETCH_DENIED,
             "the address %s is denied by the configuration", ex->url.host);
        return;
    }
    resolve(fetch, ex);
}

/* ---- turns ---- */

/* Whether this responder's first job should rather go elsewhere: it is down,
 * or is being probed and there is another URL to ask. */
static int is_hopeless(const responder_t *responder, apr_time_t now)
{
    const job_t *job = APR_RING_FIRST(&responder->jobs);
    int has_other = job->tried + 1 < job->ask.urls_count;

    return is_resting(&responder->health, now)
           || is_resting(&responder->site->health, now)
           || (has_other && responder->active && is_down(&responder->health))
           || (has_other && responder->site->active
               && is_down(&responder->site->health));
}

/* The slots that are kept for sites which have none, so that two which hang
 * with all they had earned do not shut out a third. Probes fill them first. */
static int count_reserve(const staple_fetch_t *fetch)
{
    int reserve = fetch->conf.concurrency / 16;

    if (!reserve && fetch->conf.concurrency >= 4) {
        reserve = 1;
    }
    return fetch->probes < reserve ? reserve - fetch->probes : 0;
}

/* Whether the site may have another slot; while they are scarce (is_generous
 * is false) each site has its share and no more. */
static int has_site_room(const staple_fetch_t *fetch, const site_t *site,
                         int is_generous)
{
    int all = fetch->conf.concurrency;

    if (fetch->active >= (site->active ? all - count_reserve(fetch) : all)) {
        return 0;
    }
    if (!is_generous && site->active * fetch->waiting_sites >= all) {
        return 0;
    }
    if (site->active >= (is_down(&site->health) ? 1 : site->window)) {
        return 0;
    }
    return !site->endpoints_count || clock_now() >= site->fresh_to
           || !is_full(fetch, site, site->preferred[0]
                                    ? site->preferred : site->endpoints[0].ip);
}

/* Responders that have yet to prove themselves have three quarters of the
 * slots, so that however many hang, the others go on. */
static int has_responder_room(const staple_fetch_t *fetch,
                              const responder_t *responder)
{
    int room = room_of(&responder->health);
    int most = fetch->conf.concurrency * 3 / 4;

    return responder->active < room
           && (room == INT_MAX || fetch->probes < (most ? most : 1));
}

static responder_t *find_turn(const staple_fetch_t *fetch, apr_time_t now,
                              int is_generous)
{
    site_t *site;

    APR_RING_FOREACH(site, &fetch->waiting, site_t, link) {
        int has_room = has_site_room(fetch, site, is_generous);
        responder_t *responder;

        APR_RING_FOREACH(responder, &site->waiting, responder_t, link) {
            if ((has_room && has_responder_room(fetch, responder))
                || is_hopeless(responder, now)) {
                return responder;
            }
        }
    }
    return NULL;
}

static void start(staple_fetch_t *fetch, responder_t *responder,
                  apr_time_t now)
{
    job_t *job = take_job(fetch, responder);
    site_t *site = responder->site;
    apr_pool_t *pool;
    exchange_t *ex;

    if (apr_pool_create(&pool, fetch->pool) != APR_SUCCESS) {
        pass_on_as(fetch, job, STAPLE_FETCH_SYSTEM, "out of memory");
        return;
    }
    if (!site->active && now - site->idle_since > SITE_IDLE) {
        site->window = PROBES;
    }
    ex = apr_pcalloc(pool, sizeof(*ex));
    ex->pool = pool;
    ex->job = job;
    ex->responder = responder;
    ex->is_probe = room_of(&responder->health) != INT_MAX;
    ex->deadline = now + job->ask.timeout;
    job->started = job->started ? job->started : now;
    fetch->active++;
    fetch->probes += ex->is_probe;
    responder->active++;
    site->active++;
    APR_RING_INSERT_TAIL(&fetch->exchanges, ex, exchange_t, link);

    staple_http_url_parse(&ex->responder_url, job->ask.urls[url_index(job)],
                          pool); /* it was well formed when it was routed */
    ex->url = ex->responder_url;
    ex->can_get = staple_http_url_for_get(&ex->url, &ex->responder_url,
                                          job->ask.request,
                                          job->ask.request_len, pool);
    ex->is_post = !ex->can_get || responder->prefers_post;
    if (ex->is_post) {
        ex->url = ex->responder_url;
    }
    visit(fetch, ex, site);
}

/* Put a job where it waits, or past a URL that cannot be asked. */
static void route(staple_fetch_t *fetch, job_t *job)
{
    apr_pool_t *p = fetch->scratch;
    responder_t *responder;
    staple_http_url_t url, proxy;
    staple_http_url_e reason;

    APR_RING_REMOVE(job, link);
    apr_pool_clear(p);
    reason = staple_http_url_parse(&url, job->ask.urls[url_index(job)], p);
    if (reason != STAPLE_HTTP_URL_OK) {
        pass_on_as(fetch, job, STAPLE_FETCH_BAD_URL,
                   apr_pstrcat(p, "the URL ", staple_http_url_text(reason),
                               NULL));
        return;
    }
    if (job->ask.proxy && !parse_proxy(job, &proxy, p)) {
        pass_on_as(fetch, job, STAPLE_FETCH_BAD_URL,
                   "the proxy's URL cannot be used");
        return;
    }
    responder = find_responder(fetch, &url, job->ask.proxy ? &proxy : NULL, p);
    if (!responder) {
        pass_on_as(fetch, job, STAPLE_FETCH_SYSTEM, "out of memory");
        return;
    }
    queue_job(fetch, responder, job);
}

/* One step towards full slots; whether there was one to take. */
static int take_turn(staple_fetch_t *fetch, apr_time_t now)
{
    responder_t *responder = find_turn(fetch, now, 0);

    if (!responder) {
        responder = find_turn(fetch, now, 1);
    }
    if (responder && is_hopeless(responder, now)) {
        const health_t *health = is_down(&responder->site->health)
                               ? &responder->site->health : &responder->health;

        pass_on(fetch, take_job(fetch, responder), &health->last, NULL);
        return 1;
    }
    if (responder) {
        start(fetch, responder, now);
        return 1;
    }
    if (!APR_RING_EMPTY(&fetch->fresh, job_t, link)) {
        route(fetch, APR_RING_FIRST(&fetch->fresh));
        return 1;
    }
    return 0;
}

/* Fill the slots; beyond that, as much as there is time for. */
static void take_turns(staple_fetch_t *fetch, apr_time_t until)
{
    int enough = fetch->conf.concurrency * 2;
    apr_time_t now = clock_now();

    while (take_turn(fetch, now) && (enough-- > 0 || now < until)) {
        now = clock_now();
    }
}

/* ---- the loop ---- */

static void fail_lookup(staple_fetch_t *fetch, const lookup_t *lookup)
{
    exchange_t *ex, *next;

    APR_RING_FOREACH_SAFE(ex, next, &fetch->exchanges, exchange_t, link) {
        if (ex->site == lookup->site && ex->state == RESOLVING) {
            fail(fetch, ex, STAPLE_FETCH_NO_NAME,
                 "the name %s could not be resolved: %s", ex->site->host,
                 lookup->error ? gai_strerror(lookup->error)
                               : "it has no address");
        }
    }
}

/* What the lookup threads have found; who waited for it goes on in
 * step_exchanges(). */
static void take_results(staple_fetch_t *fetch)
{
    lookup_t *lookup, *next;

    pthread_mutex_lock(&fetch->mailbox->lock);
    lookup = fetch->mailbox->results;
    fetch->mailbox->results = NULL;
    pthread_mutex_unlock(&fetch->mailbox->lock);
    for (; lookup; lookup = next) {
        next = lookup->next;
        lookup->site->lookup = NULL;
        fetch->lookups--;
        if (lookup->count) {
            set_endpoints(fetch, lookup->site, lookup->endpoints,
                          lookup->count);
        }
        else {
            fail_lookup(fetch, lookup);
        }
        free(lookup);
    }
}

static void step_exchanges(staple_fetch_t *fetch)
{
    exchange_t *ex, *next;
    apr_time_t now = clock_now();

    APR_RING_FOREACH_SAFE(ex, next, &fetch->exchanges, exchange_t, link) {
        if (now >= ex->deadline) {
            expire(fetch, ex);
        }
        else if (ex->state == RESOLVING && !ex->site->lookup) {
            resolve(fetch, ex);
        }
        else if (ex->state == CONNECTING && now >= ex->next_attempt
                 && ex->next_endpoint < ex->endpoints_count) {
            attempt(fetch, ex);
        }
    }
}

/* When step_exchanges() is needed next, if nothing happens before. */
static apr_time_t next_step(const staple_fetch_t *fetch, apr_time_t until)
{
    const exchange_t *ex;

    APR_RING_FOREACH(ex, &fetch->exchanges, exchange_t, link) {
        if (ex->deadline < until) {
            until = ex->deadline;
        }
        if (ex->state == CONNECTING && ex->next_attempt < until
            && ex->next_endpoint < ex->endpoints_count) {
            until = ex->next_attempt;
        }
    }
    return until;
}

static void handle_event(staple_fetch_t *fetch, const apr_pollfd_t *pfd)
{
    conn_t *conn = pfd->client_data;
    exchange_t *ex = conn->exchange;

    switch (conn->state) {
    case CONN_CONNECTING:
        end_attempt(fetch, conn);
        break;
    case CONN_BUSY:
        if (ex->state == SENDING && !send_rest(fetch, ex)) {
            break;
        }
        if (pfd->rtnevents & ~APR_POLLOUT) {
            receive(fetch, ex);
        }
        break;
    case CONN_IDLE:
        close_conn(fetch, conn); /* its peer has nothing to say to us */
        break;
    case CONN_DEAD:
        break;
    }
}

static void handle_events(staple_fetch_t *fetch, apr_interval_time_t wait)
{
    const apr_pollfd_t *events;
    apr_int32_t count = 0;
    apr_int32_t i;

    /* the pollset counts in milliseconds: less than one would be a spin */
    if (wait > 0 && wait < 1000) {
        wait = 1000;
    }
    if (apr_pollset_poll(fetch->pollset, wait, &count, &events)
        != APR_SUCCESS) {
        return; /* nothing happened, a wakeup, or a signal */
    }
    for (i = 0; i < count; i++) {
        handle_event(fetch, &events[i]);
    }
}

int staple_fetch_run(staple_fetch_t *fetch, apr_interval_time_t span)
{
    apr_time_t now = clock_now();
    apr_time_t until = now + span;
    apr_interval_time_t wait = 0;

    while (!apr_atomic_read32(&fetch->is_stopped)) {
        handle_events(fetch, wait);
        take_results(fetch);
        step_exchanges(fetch);
        take_turns(fetch, until);
        now = clock_now();
        close_idle(fetch, now - KEEPALIVE);
        bury(fetch);
        if (!fetch->busy || now >= until) {
            break;
        }
        wait = next_step(fetch, until) - now;
        if (wait < 0 || !APR_RING_EMPTY(&fetch->fresh, job_t, link)) {
            wait = 0;
        }
    }
    return fetch->busy;
}

int staple_fetch_busy(const staple_fetch_t *fetch)
{
    return fetch->busy;
}

void staple_fetch_stop(staple_fetch_t *fetch)
{
    apr_atomic_set32(&fetch->is_stopped, 1);
    apr_pollset_wakeup(fetch->pollset);
}

/* ---- jobs ---- */

static apr_size_t size_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static char *put_text(const char **copy, const char *text, char *to)
{
    apr_size_t size = size_of(text);

    if (size) {
        *copy = memcpy(to, text, size);
    }
    return to + size;
}

/* A copy of all that a job points to, in one block. */
static job_t *copy_job(const staple_fetch_job_t *ask)
{
    apr_size_t urls_size = (apr_size_t)ask->urls_count * sizeof(char *);
    apr_size_t size = sizeof(job_t) + urls_size + ask->request_len
                    + size_of(ask->proxy) + size_of(ask->if_none_match)
                    + size_of(ask->if_modified_since);
    const char **urls;
    job_t *job;
    char *to;
    int i;

    for (i = 0; i < ask->urls_count; i++) {
        size += size_of(ask->urls[i]);
    }
    job = calloc(1, size);
    if (!job) {
        return NULL;
    }
    urls = (const char **)(job + 1);
    to = (char *)(job + 1) + urls_size;
    job->ask = *ask;
    job->ask.urls = urls;
    for (i = 0; i < ask->urls_count; i++) {
        to = put_text(&urls[i], ask->urls[i], to);
    }
    to = put_text(&job->ask.proxy, ask->proxy, to);
    to = put_text(&job->ask.if_none_match, ask->if_none_match, to);
    to = put_text(&job->ask.if_modified_since, ask->if_modified_since, to);
    job->ask.request = memcpy(to, ask->request, ask->request_len);
    if (ask->first_url < 0 || ask->first_url >= ask->urls_count) {
        job->ask.first_url = 0;
    }
    return job;
}

apr_status_t staple_fetch_submit(staple_fetch_t *fetch,
                                 const staple_fetch_job_t *ask)
{
    job_t *job;

    if (fetch->is_destroyed) {
        return APR_EOF;
    }
    if (ask->urls_count < 1 || !ask->request || !ask->request_len
        || !ask->done) {
        return APR_EINVAL;
    }
    job = copy_job(ask);
    if (!job) {
        return APR_ENOMEM;
    }
    APR_RING_INSERT_TAIL(&fetch->fresh, job, job_t, link);
    fetch->busy++;
    return APR_SUCCESS;
}

/* ---- life ---- */

static void end_stopped(staple_fetch_t *fetch, job_t *job)
{
    init_failure(&job->failure, job, STAPLE_FETCH_STOPPED);
    apr_cpystrn(job->failure.reason, "the server stops or restarts",
                sizeof(job->failure.reason));
    end_failed(fetch, job, NULL);
}

/* Any job that is not under way, taken out of where it waits; NULL: none. */
static job_t *take_any(staple_fetch_t *fetch)
{
    job_t *job;

    if (!APR_RING_EMPTY(&fetch->waiting, site_t, link)) {
        site_t *site = APR_RING_FIRST(&fetch->waiting);

        return take_job(fetch, APR_RING_FIRST(&site->waiting));
    }
    if (APR_RING_EMPTY(&fetch->fresh, job_t, link)) {
        return NULL;
    }
    job = APR_RING_FIRST(&fetch->fresh);
    APR_RING_REMOVE(job, link);
    return job;
}

static void free_values(apr_hash_t *hash)
{
    apr_hash_index_t *hi;
    void *value;

    for (hi = apr_hash_first(NULL, hash); hi; hi = apr_hash_next(hi)) {
        apr_hash_this(hi, NULL, NULL, &value);
        free(value); /* with its key, so the table is dead from here on */
    }
}

static void leave_lookups(staple_fetch_t *fetch)
{
    mailbox_t *mailbox = fetch->mailbox;
    lookup_t *lookup, *next;

    pthread_mutex_lock(&mailbox->lock);
    mailbox->pollset = NULL;
    for (lookup = mailbox->results; lookup; lookup = next) {
        next = lookup->next;
        free(lookup);
    }
    mailbox->results = NULL;
    leave_mailbox(mailbox);
}

/* Before the engine's pool goes, by destroy or with its parent: what was not
 * taken from it. Callbacks are no longer made. */
static apr_status_t cleanup(void *data)
{
    staple_fetch_t *fetch = data;
    exchange_t *ex;
    job_t *job;

    while ((job = take_any(fetch)) != NULL) {
        free(job);
    }
    APR_RING_FOREACH(ex, &fetch->exchanges, exchange_t, link) {
        free(ex->job);
    }
    leave_lookups(fetch);
    free_values(fetch->responders);
    free_values(fetch->sites);
    return APR_SUCCESS;
}

void staple_fetch_destroy(staple_fetch_t *fetch)
{
    job_t *job;

    fetch->is_destroyed = 1;
    while (!APR_RING_EMPTY(&fetch->exchanges, exchange_t, link)) {
        exchange_t *ex = APR_RING_FIRST(&fetch->exchanges);

        leave(fetch, ex);
        end_stopped(fetch, ex->job);
        apr_pool_destroy(ex->pool);
    }
    while ((job = take_any(fetch)) != NULL) {
        end_stopped(fetch, job);
    }
    close_idle(fetch, clock_now());
    bury(fetch);
    apr_pool_destroy(fetch->pool);
}

static mailbox_t *make_mailbox(apr_pollset_t *pollset)
{
    mailbox_t *mailbox = calloc(1, sizeof(*mailbox));

    if (mailbox && pthread_mutex_init(&mailbox->lock, NULL)) {
        free(mailbox);
        mailbox = NULL;
    }
    if (mailbox) {
        mailbox->pollset = pollset;
        mailbox->refs = 1;
    }
    return mailbox;
}

/* A pool with an allocator of its own: nobody else takes its lock, and what
 * exchanges give back is there for the next ones. */
static apr_status_t make_pool(apr_pool_t **pool, apr_pool_t *parent)
{
    apr_allocator_t *allocator;
    apr_status_t rv;

    rv = apr_allocator_create(&allocator);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_allocator_max_free_set(allocator, FREE_MAX);
    rv = apr_pool_create_ex(pool, parent, NULL, allocator);
    if (rv != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return rv;
    }
    apr_allocator_owner_set(allocator, *pool);
    return APR_SUCCESS;
}

apr_status_t staple_fetch_create(staple_fetch_t **made,
                                 const staple_fetch_conf_t *conf,
                                 apr_pool_t *p)
{
    staple_fetch_t *fetch;
    apr_pool_t *pool;
    apr_status_t rv;

    rv = make_pool(&pool, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    fetch = apr_pcalloc(pool, sizeof(*fetch));
    fetch->pool = pool;
    fetch->conf = *conf;
    fetch->conf.concurrency = conf->concurrency > 1 ? conf->concurrency : 1;
    fetch->conf.user_agent = apr_pstrdup(pool, conf->user_agent);
    fetch->half = fetch->conf.concurrency > 1 ? fetch->conf.concurrency / 2 : 1;
    fetch->sites = apr_hash_make(pool);
    fetch->responders = apr_hash_make(pool);
    APR_RING_INIT(&fetch->fresh, job_t, link);
    APR_RING_INIT(&fetch->waiting, site_t, link);
    APR_RING_INIT(&fetch->exchanges, exchange_t, link);
    APR_RING_INIT(&fetch->conns, conn_t, link);
    APR_RING_INIT(&fetch->dead, conn_t, link);
    rv = apr_pool_create(&fetch->scratch, pool);
    if (rv == APR_SUCCESS) {
        apr_uint32_t size = (apr_uint32_t)fetch->conf.concurrency
                            * (ENDPOINTS_MAX + 1) + 1;

        rv = apr_pollset_create(&fetch->pollset, size, pool,
                                APR_POLLSET_WAKEABLE);
    }
    if (rv == APR_SUCCESS) {
        fetch->mailbox = make_mailbox(fetch->pollset);
        rv = fetch->mailbox ? APR_SUCCESS : APR_ENOMEM;
    }
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return rv;
    }
    apr_pool_pre_cleanup_register(pool, fetch, cleanup);
    pin_code();
    *made = fetch;
    return APR_SUCCESS;
}
