/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How fast the ring is, beside the module it stands in for: mod_socache_shmcb
 * itself, loaded into this program, asked as mod_ssl asks it, under a global
 * mutex. Both in one run, so that the ratio means something on any machine.
 *
 *   cache                 all figures
 *   cache --torn READS    readers in several processes against a writer at
 *                         full speed; says how many reads were whole, and
 *                         fails if one was not what the writer stored
 *   SHMCB=path            where mod_socache_shmcb.so is, if not where the
 *                         distribution puts it
 *
 * Not a test with a verdict on time: it prints, the reader judges. Times of one
 * process are the best of many rounds: what disturbs a round only ever adds.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <ap_provider.h>
#include <ap_socache.h>
#include <apr_strings.h>

#include <apr_global_mutex.h>

#include "../unit/cache_fixture.h"

#define DER_LEN 2048
#define ROUNDS 200
#define READS_PER_ROUND 2000
#define PROCESS_ROUNDS 9

/* ---- What mod_socache_shmcb asks of httpd. ---- */

static const ap_socache_provider_t *shmcb;

apr_status_t ap_register_provider(apr_pool_t *pool, const char *group,
                                  const char *name, const char *version,
                                  const void *provider)
{
    (void)pool;
    (void)version;
    if (!strcmp(group, AP_SOCACHE_PROVIDER_GROUP) && !strcmp(name, "shmcb")) {
        shmcb = provider;
    }
    return APR_SUCCESS;
}

char *ap_server_root_relative(apr_pool_t *p, const char *file)
{
    return apr_pstrdup(p, file);
}

char *ap_runtime_dir_relative(apr_pool_t *p, const char *file)
{
    return apr_pstrdup(p, file);
}

void ap_log_error_(const char *file, int line, int module_index, int level,
                   apr_status_t status, const server_rec *s, const char *fmt,
                   ...)
{
    (void)file;
    (void)line;
    (void)module_index;
    (void)status;
    (void)s;
    if ((level & APLOG_LEVELMASK) <= APLOG_ERR) {
        printf("shmcb complains: %s\n", fmt);
    }
}

void ap_log_rerror_(const char *file, int line, int module_index, int level,
                    apr_status_t status, const request_rec *r, const char *fmt,
                    ...)
{
    (void)file;
    (void)line;
    (void)module_index;
    (void)level;
    (void)status;
    (void)r;
    (void)fmt;
}

int ap_rprintf(request_rec *r, const char *fmt, ...);
int ap_rwrite(const void *buf, int nbyte, request_rec *r);

int ap_rprintf(request_rec *r, const char *fmt, ...)
{
    (void)r;
    (void)fmt;
    return 0;
}

int ap_rwrite(const void *buf, int nbyte, request_rec *r)
{
    (void)buf;
    (void)r;
    return nbyte;
}

/* ---- The two rivals, filled with the same responses. ---- */

typedef struct bench_t {
    apr_pool_t *p;
    int count;
    cert_id_t *ids;
    unsigned int *order; /* in which certificates are asked for */
    staple_cache_t *ring;
    const char *data; /* its data area */
    ap_socache_instance_t *instance; /* NULL: shmcb is not at hand */
    apr_global_mutex_t *mutex;
    server_rec *server;
} bench_t;

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void die(const char *what, apr_status_t rv)
{
    char buf[120];

    printf("%s: %s\n", what, apr_strerror(rv, buf, sizeof(buf)));
    exit(1);
}

static staple_cache_t *make_ring(const bench_t *bench,
                                 staple_cache_t *previous)
{
    staple_cache_conf_t conf = make_conf(NULL, STAPLE_CACHE_SIZE_DEFAULT, 1,
                                         bench->ids,
                                         (unsigned int)bench->count, previous);
    staple_cache_report_t report;
    staple_cache_t *ring;
    apr_status_t rv = create(&ring, &conf, &report, bench->p);

    if (rv != APR_SUCCESS) {
        die("cannot make a ring", rv);
    }
    return ring;
}

static void load_shmcb(bench_t *bench)
{
    const char *path = getenv("SHMCB");
    struct ap_socache_hints hints = { 20, DER_LEN, 300000000 };
    const char *error;
    void *library;
    module *mod;

    path = path ? path : "/usr/lib/apache2/modules/mod_socache_shmcb.so";
    library = dlopen(path, RTLD_NOW);
    mod = library ? dlsym(library, "socache_shmcb_module") : NULL;
    if (!mod) {
        printf("no mod_socache_shmcb to compare with: %s\n", dlerror());
        return;
    }
    mod->register_hooks(bench->p);
    error = shmcb->create(&bench->instance,
                          apr_psprintf(bench->p, "/tmp/bench(%d)",
                                       bench->count * 3000 + 4000000),
                          bench->p, bench->p);
    if (error || shmcb->init(bench->instance, "bench", &hints, bench->server,
                             bench->p) != APR_SUCCESS) {
        printf("mod_socache_shmcb fails: %s\n", error ? error : "init");
        exit(1);
    }
}

static void fill_both(bench_t *bench)
{
    unsigned char der[DER_LEN];
    int i;

    for (i = 0; i < bench->count; i++) {
        apr_status_t rv = store_der(bench->ring, i, DER_LEN, (apr_uint32_t)i,
                                    1);

        make_der(der, DER_LEN, (apr_uint32_t)i, 1);
        if (rv == APR_SUCCESS && bench->instance) {
            rv = shmcb->store(bench->instance, bench->server, bench->ids[i], 20,
                              apr_time_now() + apr_time_from_sec(3600), der,
                              sizeof(der), bench->p);
        }
        if (rv != APR_SUCCESS) {
            die("cannot store", rv);
        }
    }
}

/* The bytes of the ring's own segment. */
static const char *data_area(const bench_t *bench)
{
    apr_size_t length;
    void *base;

    staple_cache_mapping(bench->ring, &base, &length);
    return (const char *)base
           + ((const staple_cache_header_t *)base)->data_offset;
}

static void set_up(bench_t *bench, int count, apr_lockmech_e mech)
{
    apr_uint64_t random = 88172645463325252u;
    apr_status_t rv;
    int i;

    memset(bench, 0, sizeof(*bench));
    apr_pool_create(&bench->p, NULL);
    bench->count = count;
    bench->ids = make_ids((unsigned int)count, bench->p);
    bench->order = apr_palloc(bench->p,
                              (apr_size_t)count * sizeof(*bench->order));
    for (i = 0; i < count; i++) {
        bench->order[i] = random_below(&random, (unsigned int)count);
    }
    bench->server = apr_pcalloc(bench->p, sizeof(*bench->server));
    bench->server->log.level = APLOG_WARNING;
    rv = apr_global_mutex_create(&bench->mutex, "/tmp/bench-cache-lock", mech,
                                 bench->p);
    if (rv != APR_SUCCESS) {
        die("cannot make a mutex", rv);
    }
    bench->ring = make_ring(bench, NULL);
    bench->data = data_area(bench);
    load_shmcb(bench);
    fill_both(bench);
}

static void tear_down(bench_t *bench)
{
    staple_cache_unmap(bench->ring);
    if (bench->instance) {
        shmcb->destroy(bench->instance, bench->server);
    }
    apr_pool_destroy(bench->p);
}

/* ---- The ways to read, all of one shape. ---- */

typedef void read_fn(const bench_t *bench, unsigned int slot,
                     unsigned char *buf);

static void read_ring(const bench_t *bench, unsigned int which,
                      unsigned char *buf)
{
    int slot = staple_cache_find(bench->ring, bench->ids[which]);
    staple_cache_meta_t meta;
    apr_size_t len;

    if (staple_cache_read(bench->ring, slot, buf, STAPLE_CACHE_DER_MAX, &len,
                          &meta) != APR_SUCCESS || len != DER_LEN) {
        die("the ring has lost a response", APR_NOTFOUND);
    }
}

static void read_shmcb(const bench_t *bench, unsigned int which,
                       unsigned char *buf)
{
    unsigned int len = (unsigned int)STAPLE_CACHE_DER_MAX;
    apr_status_t rv;

    apr_global_mutex_lock(bench->mutex);
    rv = shmcb->retrieve(bench->instance, bench->server, bench->ids[which], 20,
                         buf, &len, bench->p);
    apr_global_mutex_unlock(bench->mutex);
    if (rv != APR_SUCCESS || len != DER_LEN) {
        die("shmcb has lost a response", rv);
    }
}

static volatile apr_uint64_t sink;

/* The least that has to be done: the same bytes, copied and summed up. */
static void read_bare(const bench_t *bench, unsigned int which,
                      unsigned char *buf)
{
    apr_size_t bytes = (apr_size_t)staple_cache_record_bytes(DER_LEN);

    memcpy(buf, bench->data + which * bytes, bytes);
    sink = staple_cache_sum(bench->ids[which], buf,
                            bytes / STAPLE_CACHE_BLOCK);
}

static void read_memcpy(const bench_t *bench, unsigned int which,
                        unsigned char *buf)
{
    apr_size_t bytes = (apr_size_t)staple_cache_record_bytes(DER_LEN);

    memcpy(buf, bench->data + which * bytes, bytes);
    __asm__ volatile("" : : "r"(buf) : "memory");
}

static void read_round(const bench_t *bench, read_fn *fn, int reads)
{
    static unsigned char buf[STAPLE_CACHE_DER_MAX + STAPLE_CACHE_BLOCK];
    unsigned int at = 0;
    int i;

    for (i = 0; i < reads; i++) {
        fn(bench, bench->order[at], buf);
        at = at + 1 == (unsigned int)bench->count ? 0 : at + 1;
    }
}

/* ns for one read in one process, best of the rounds. */
static double time_reads(const bench_t *bench, read_fn *fn)
{
    double best = 0;
    int round;

    for (round = 0; round < ROUNDS; round++) {
        double start = now_ns(), took;

        read_round(bench, fn, READS_PER_ROUND);
        took = (now_ns() - start) / READS_PER_ROUND;
        best = round == 0 || took < best ? took : best;
    }
    return best;
}

/* ---- Several processes. ---- */

/* Each process its own processor, or they may share one for a whole round. */
static void keep_to(int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)processor % (size_t)sysconf(_SC_NPROCESSORS_ONLN), &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, apr_size_t count)
{
    qsort(values, count, sizeof(*values), by_size);
    return values[count / 2];
}

typedef struct shared_t {
    _Atomic int ready, go, stop;
    _Atomic apr_uint64_t stores;
} shared_t;

static void wait_for(_Atomic int *value, int least)
{
    while (atomic_load(value) < least) {
        sched_yield();
    }
}

/*
 * ns for one read of all processes together, so two that do not hinder each
 * other halve it. The median: the best would be a round in which something
 * else kept them from running at the same time.
 */
static double time_processes(const bench_t *bench, read_fn *fn, int processes)
{
    const int reads = 100000;
    double took[PROCESS_ROUNDS];
    int round, i;

    for (round = 0; round < PROCESS_ROUNDS; round++) {
        shared_t *shared = shared_memory(sizeof(*shared));
        double start;

        for (i = 0; i < processes; i++) {
            if (fork() == 0) {
                keep_to(i);
                atomic_fetch_add(&shared->ready, 1);
                wait_for(&shared->go, 1);
                read_round(bench, fn, reads);
                _exit(0);
            }
        }
        wait_for(&shared->ready, processes);
        start = now_ns();
        atomic_store(&shared->go, 1);
        for (i = 0; i < processes; i++) {
            wait(NULL);
        }
        took[round] = (now_ns() - start) / reads / processes;
        munmap(shared, sizeof(*shared));
    }
    return median(took, PROCESS_ROUNDS);
}

/* What another process does while one reads. */
typedef enum { REST, STORE_OTHERS, STORE_ALL } writer_e;

static void write_on(const bench_t *bench, shared_t *shared, writer_e what)
{
    int slot = 0, first = what == STORE_OTHERS ? bench->count / 2 : 0;

    atomic_store(&shared->ready, 1);
    while (what != REST && !atomic_load(&shared->stop)) {
        slot = slot + 1 < bench->count ? slot + 1 : first;
        slot = slot < first ? first : slot;
        store_der(bench->ring, slot, DER_LEN, (apr_uint32_t)slot, 2);
        atomic_fetch_add(&shared->stores, 1);
    }
}

/* ns for one read of the first half of the certificates; the median, for in
 * the best round the writer may not have been running. */
static double time_beside(const bench_t *bench, writer_e what, double *stores)
{
    static unsigned char buf[STAPLE_CACHE_DER_MAX];
    shared_t *shared = shared_memory(sizeof(*shared));
    double began, took[ROUNDS];
    pid_t writer = fork();
    int round, i;

    if (writer == 0) {
        keep_to(1);
        write_on(bench, shared, what);
        _exit(0);
    }
    keep_to(0);
    wait_for(&shared->ready, 1);
    began = now_ns();
    for (round = 0; round < ROUNDS; round++) {
        double start = now_ns();

        for (i = 0; i < READS_PER_ROUND; i++) {
            read_ring(bench, bench->order[i % bench->count]
                             % (unsigned int)((bench->count + 1) / 2), buf);
        }
        took[round] = (now_ns() - start) / READS_PER_ROUND;
    }
    *stores = (double)atomic_load(&shared->stores) * 1e9 / (now_ns() - began);
    atomic_store(&shared->stop, 1);
    waitpid(writer, NULL, 0);
    munmap(shared, sizeof(*shared));
    return median(took, ROUNDS);
}

/* ---- The report. ---- */

static void report_reads(void)
{
    static const int counts[] = { 1, 10, 100, 1000, 10000 };
    unsigned int i;
    bench_t bench;

    printf("look-up and copy of %d bytes, ns, one process, default mutex\n"
           "certificates    ring   shmcb  ratio  memcpy+sum  memcpy\n",
           DER_LEN);
    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        double ring, rival;

        set_up(&bench, counts[i], APR_LOCK_DEFAULT);
        ring = time_reads(&bench, read_ring);
        rival = bench.instance ? time_reads(&bench, read_shmcb) : 0;
        printf("%12d  %6.0f  %6.0f  %5.1f  %10.0f  %6.0f\n", counts[i], ring,
               rival, rival / ring, time_reads(&bench, read_bare),
               time_reads(&bench, read_memcpy));
        tear_down(&bench);
    }
}

static void report_processes(void)
{
    static const struct {
        const char *name;
        apr_lockmech_e mech;
    } mechs[] = {
        { "default", APR_LOCK_DEFAULT }, { "pthread", APR_LOCK_PROC_PTHREAD },
        { "sysvsem", APR_LOCK_SYSVSEM }, { "posixsem", APR_LOCK_POSIXSEM },
        { "fcntl", APR_LOCK_FCNTL },
    };
    unsigned int i;
    bench_t bench;

    printf("\nns per look-up of all processes together, 100 certificates\n"
           "mutex         1 process: ring  shmcb  ratio"
           "   2 processes: ring  shmcb  ratio\n");
    for (i = 0; i < sizeof(mechs) / sizeof(mechs[0]); i++) {
        double ring[2], rival[2];

        set_up(&bench, 100, mechs[i].mech);
        if (!bench.instance) {
            return;
        }
        ring[0] = time_processes(&bench, read_ring, 1);
        ring[1] = time_processes(&bench, read_ring, 2);
        rival[0] = time_processes(&bench, read_shmcb, 1);
        rival[1] = time_processes(&bench, read_shmcb, 2);
        printf("%-12s %16.0f %6.0f %6.1f %20.0f %6.0f %6.1f\n", mechs[i].name,
               ring[0], rival[0], rival[0] / ring[0], ring[1], rival[1],
               rival[1] / ring[1]);
        tear_down(&bench);
    }
}

static void report_writer(void)
{
    static const int counts[] = { 2, 100, 10000 };
    unsigned int i;
    bench_t bench;

    printf("\nns per look-up beside a writer that stores as fast as it can\n"
           "certificates    none  others'  (stores/s)  the same  (stores/s)\n");
    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        double alone, others, same, rate[3];

        set_up(&bench, counts[i], APR_LOCK_DEFAULT);
        alone = time_beside(&bench, REST, &rate[0]);
        others = time_beside(&bench, STORE_OTHERS, &rate[1]);
        same = time_beside(&bench, STORE_ALL, &rate[2]);
        printf("%12d  %6.0f  %7.0f  %10.0f  %8.0f  %10.0f\n", counts[i], alone,
               others, rate[1], same, rate[2]);
        tear_down(&bench);
    }
}

static void report_memory(void)
{
    static const int lengths[] = { 300, 500, 1000, 2048, 5000 };
    unsigned int i;

    printf("\nbytes of a segment for 1000 certificates\n"
           "response      needs    1.2 x bytes + 256 each\n");
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        apr_size_t len = (apr_size_t)lengths[i];
        apr_uint64_t record = staple_cache_record_bytes(len);

        printf("%8d %10.0f %10.0f\n", lengths[i],
               (double)staple_cache_need(1000, 1000 * record, record),
               1000 * (1.2 * (double)len + 256));
    }
}

static void report_seeding(void)
{
    staple_cache_report_t report;
    staple_cache_conf_t conf;
    staple_cache_t *next;
    double start, took[2];
    bench_t bench;
    int i;

    set_up(&bench, 10000, APR_LOCK_DEFAULT);
    conf = make_conf("/tmp/bench-cache-ring", STAPLE_CACHE_SIZE_DEFAULT, 1,
                     bench.ids, 10000, bench.ring);
    for (i = 0; i < 2; i++) {
        start = now_ns();
        if (create(&next, &conf, &report, bench.p)
            != APR_SUCCESS) {
            die("cannot seed", APR_EGENERAL);
        }
        took[i] = (now_ns() - start) / 1e6;
        staple_cache_unmap(next);
        conf.previous = NULL;
    }
    printf("\nnew generation of 10000 certificates, into a file\n"
           "from memory %.0f ms, from the file %.0f ms (%d records, %d bytes)"
           "\n", took[0], took[1], (int)report.seeded,
           (int)report.size_granted);
    unlink(conf.path);
    tear_down(&bench);
}

static int torn(apr_uint64_t reads)
{
    torn_t *race = shared_memory(sizeof(*race));
    apr_uint64_t made = 0, bad = 0;
    const int readers = 2;
    double start = now_ns();
    apr_pool_t *p;
    int well, i;

    apr_pool_create(&p, NULL);
    well = torn_race(race, readers, reads / (apr_uint64_t)readers, 0, p);
    for (i = 0; i < readers; i++) {
        made += race->reader[i].reads;
        bad += race->reader[i].torn + race->reader[i].foreign
               + race->reader[i].stale + race->reader[i].missed;
        printf("reader %d: %.0f reads, %.0f missed, %.0f torn, %.0f foreign, "
               "%.0f stale\n", i, (double)race->reader[i].reads,
               (double)race->reader[i].missed, (double)race->reader[i].torn,
               (double)race->reader[i].foreign, (double)race->reader[i].stale);
    }
    printf("%.0f reads, %.0f stores in %.0f s: %s\n", (double)made,
           (double)atomic_load(&race->stores), (now_ns() - start) / 1e9,
           well && !bad ? "all whole" : "FAILED");
    return well && !bad ? 0 : 1;
}

int main(int argc, char **argv)
{
    apr_initialize();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 3 && !strcmp(argv[1], "--torn")) {
        return torn((apr_uint64_t)apr_strtoi64(argv[2], NULL, 10));
    }
    if (argc != 1) {
        printf("usage: cache [--torn READS]\n");
        return 2;
    }
    report_reads();
    report_processes();
    report_writer();
    report_memory();
    report_seeding();
    return 0;
}
