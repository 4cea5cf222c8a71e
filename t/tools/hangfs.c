/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A file system that hangs when a test says so: one directory of files in
 * memory, mounted by the kernel's FUSE protocol without any library.
 *
 *     hangfs DIRECTORY
 *
 * mounts it there, prints "ready", and obeys lines on standard input: "hang"
 * (no request is answered from here on, and whoever waits can be killed),
 * "hold" (the same, but each request is under way, so not even SIGKILL ends who
 * waits), "slow N" (whoever opens a file waits so many milliseconds), "fail"
 * (who opens one gets EIO) and "go" (those that wait, and all others, are
 * answered at once). Each is confirmed by "ok". The end of the input unmounts
 * it. Where it cannot be mounted, that is said and the exit status is 77.
 *
 * Requests are answered one after another; what they need of the protocol is in
 * linux/fuse.h. Every name is asked for each time, and no page is cached, so
 * whoever touches a file waits, and so does whoever closes one.
 */

#include <stdio.h>

#if defined(__linux__) && __has_include(<linux/fuse.h>)

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define FILES_MAX 256
#define WRITE_MAX 65536 /* bytes that a request reads or writes at most */
#define REQUEST_MAX (WRITE_MAX + 4096)

/* A file; its node is its place, from 2 on: 1 is the directory. */
typedef struct file_t {
    char name[256]; /* "": deleted */
    char *bytes;
    struct fuse_attr attr;
} file_t;

static file_t files[FILES_MAX];
static unsigned files_count;
static struct fuse_attr root; /* of the directory: when it changed */
static int device;
static int open_msec;  /* how long it takes to open a file */
static int open_error; /* 0, or what comes of it */

/* ----- files ----- */

static void touch(struct fuse_attr *attr)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    attr->mtime = attr->ctime = (uint64_t)now.tv_sec;
    attr->mtimensec = attr->ctimensec = (uint32_t)now.tv_nsec;
}

static file_t *file_at(uint64_t node)
{
    return node >= 2 && node < files_count + 2 ? &files[node - 2] : NULL;
}

static file_t *find(const char *name)
{
    unsigned i;

    for (i = 0; i < files_count; i++) {
        if (!strcmp(files[i].name, name)) {
            return &files[i];
        }
    }
    return NULL;
}

static void attributes(struct fuse_attr *attr, uint64_t node)
{
    const file_t *file = file_at(node);

    if (file) {
        *attr = file->attr;
        return;
    }
    *attr = root;
    attr->ino = FUSE_ROOT_ID;
    attr->mode = S_IFDIR | 0755;
    attr->nlink = 2;
}

static file_t *make(const char *name, uint32_t mode,
                    const struct fuse_in_header *in)
{
    file_t *file = &files[files_count];

    if (files_count == FILES_MAX) {
        return NULL;
    }
    snprintf(file->name, sizeof(file->name), "%s", name);
    file->attr.ino = ++files_count + 1;
    file->attr.mode = S_IFREG | (mode & 0777);
    file->attr.nlink = 1;
    file->attr.uid = in->uid;
    file->attr.gid = in->gid;
    touch(&file->attr);
    touch(&root);
    return file;
}

static int resize(file_t *file, uint64_t size)
{
    char *bytes = realloc(file->bytes, size + 1);

    if (!bytes) {
        return -ENOMEM;
    }
    if (size > file->attr.size) {
        memset(bytes + file->attr.size, 0, size - file->attr.size);
    }
    file->bytes = bytes;
    file->attr.size = size;
    file->attr.blocks = (size + 511) / 512;
    return 0;
}

/* ----- answers ----- */

static void reply(const struct fuse_in_header *in, int error, const void *data,
                  size_t len)
{
    static char out[sizeof(struct fuse_out_header) + REQUEST_MAX];
    struct fuse_out_header head;

    len = error ? 0 : len;
    head.len = (uint32_t)(sizeof(head) + len);
    head.error = error;
    head.unique = in->unique;
    memcpy(out, &head, sizeof(head));
    if (len) {
        memcpy(out + sizeof(head), data, len);
    }
    if (write(device, out, head.len) < 0 && errno != ENOENT) {
        perror("hangfs");
    }
}

static void reply_entry(const struct fuse_in_header *in, const file_t *file,
                        int is_open)
{
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;

    memset(&out, 0, sizeof(out));
    if (!file) {
        reply(in, -ENOENT, NULL, 0);
        return;
    }
    out.entry.nodeid = file->attr.ino;
    out.entry.attr = file->attr;
    out.open.open_flags = FOPEN_DIRECT_IO;
    reply(in, 0, &out, is_open ? sizeof(out) : sizeof(out.entry));
}

static void reply_attributes(const struct fuse_in_header *in)
{
    struct fuse_attr_out out;

    memset(&out, 0, sizeof(out));
    attributes(&out.attr, in->nodeid);
    reply(in, 0, &out, sizeof(out));
}

static void reply_open(const struct fuse_in_header *in)
{
    struct fuse_open_out out;

    if (in->opcode == FUSE_OPEN) {
        poll(NULL, 0, open_msec);
        if (open_error) {
            reply(in, open_error, NULL, 0);
            return;
        }
    }
    memset(&out, 0, sizeof(out));
    out.open_flags = in->opcode == FUSE_OPEN ? FOPEN_DIRECT_IO : 0;
    reply(in, 0, &out, sizeof(out));
}

/* ----- requests ----- */

static void on_init(const struct fuse_in_header *in)
{
    struct fuse_init_out out;

    memset(&out, 0, sizeof(out));
    out.major = FUSE_KERNEL_VERSION;
    out.minor = 31;
    out.max_write = WRITE_MAX;
    out.time_gran = 1;
    reply(in, 0, &out, sizeof(out));
}

static void on_setattr(const struct fuse_in_header *in,
                       const struct fuse_setattr_in *set)
{
    file_t *file = file_at(in->nodeid);

    if (file && (set->valid & FATTR_SIZE)) {
        resize(file, set->size);
    }
    if (file && (set->valid & FATTR_MODE)) {
        file->attr.mode = S_IFREG | (set->mode & 0777);
    }
    if (file && (set->valid & FATTR_UID)) {
        file->attr.uid = set->uid;
    }
    if (file && (set->valid & FATTR_GID)) {
        file->attr.gid = set->gid;
    }
    if (file) {
        touch(&file->attr);
    }
    reply_attributes(in);
}

static void on_read(const struct fuse_in_header *in,
                    const struct fuse_read_in *what)
{
    const file_t *file = file_at(in->nodeid);
    uint64_t size = file ? file->attr.size : 0;
    uint64_t at = what->offset < size ? what->offset : size;
    uint64_t len = size - at < what->size ? size - at : what->size;

    reply(in, 0, len ? file->bytes + at : NULL, len);
}

static void on_write(const struct fuse_in_header *in,
                     const struct fuse_write_in *what)
{
    struct fuse_write_out out = { what->size, 0 };
    file_t *file = file_at(in->nodeid);
    uint64_t end = what->offset + what->size;

    if (!file || (end > file->attr.size && resize(file, end))) {
        reply(in, -EIO, NULL, 0);
        return;
    }
    memcpy(file->bytes + what->offset, what + 1, what->size);
    touch(&file->attr);
    reply(in, 0, &out, sizeof(out));
}

static void on_unlink(const struct fuse_in_header *in, const char *name)
{
    file_t *file = find(name);

    if (file) {
        file->name[0] = '\0';
        file->attr.nlink = 0;
        touch(&root);
    }
    reply(in, file ? 0 : -ENOENT, NULL, 0);
}

static void on_rename(const struct fuse_in_header *in, const char *from)
{
    const char *to = from + strlen(from) + 1;
    file_t *file = find(from), *old = find(to);

    if (file && old && old != file) {
        old->name[0] = '\0';
        old->attr.nlink = 0;
    }
    if (file) {
        snprintf(file->name, sizeof(file->name), "%s", to);
        touch(&file->attr);
        touch(&root);
    }
    reply(in, file ? 0 : -ENOENT, NULL, 0);
}

/* A position is the number of files that were read before. */
static void on_readdir(const struct fuse_in_header *in,
                       const struct fuse_read_in *what)
{
    char out[4096];
    size_t len = 0;
    uint64_t i;

    memset(out, 0, sizeof(out));
    for (i = what->offset; i < files_count; i++) {
        struct fuse_dirent entry = { files[i].attr.ino, i + 1,
                                     (uint32_t)strlen(files[i].name), DT_REG };
        size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);

        if (len + size > sizeof(out) || len + size > what->size) {
            break;
        }
        if (entry.namelen) {
            memcpy(out + len, &entry, FUSE_NAME_OFFSET);
            memcpy(out + len + FUSE_NAME_OFFSET, files[i].name, entry.namelen);
            len += size;
        }
    }
    reply(in, 0, out, len);
}

static void on_statfs(const struct fuse_in_header *in)
{
    struct fuse_statfs_out out;

    memset(&out, 0, sizeof(out));
    out.st.blocks = out.st.bfree = out.st.bavail = 1 << 20;
    out.st.bsize = out.st.frsize = 4096;
    out.st.namelen = 255;
    reply(in, 0, &out, sizeof(out));
}

static void answer(const struct fuse_in_header *in)
{
    const void *args = in + 1;

    switch (in->opcode) {
    case FUSE_INIT:
        on_init(in);
        break;
    case FUSE_LOOKUP:
        reply_entry(in, *(const char *)args ? find(args) : NULL, 0);
        break;
    case FUSE_GETATTR:
        reply_attributes(in);
        break;
    case FUSE_SETATTR:
        on_setattr(in, args);
        break;
    case FUSE_CREATE:
        reply_entry(in, make((const char *)args + sizeof(struct fuse_create_in),
                             ((const struct fuse_create_in *)args)->mode, in),
                    1);
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        reply_open(in);
        break;
    case FUSE_READ:
        on_read(in, args);
        break;
    case FUSE_WRITE:
        on_write(in, args);
        break;
    case FUSE_UNLINK:
        on_unlink(in, args);
        break;
    case FUSE_RENAME:
        on_rename(in, (const char *)args + sizeof(struct fuse_rename_in));
        break;
    case FUSE_RENAME2:
        on_rename(in, (const char *)args + sizeof(struct fuse_rename2_in));
        break;
    case FUSE_READDIR:
        on_readdir(in, args);
        break;
    case FUSE_STATFS:
        on_statfs(in);
        break;
    case FUSE_FLUSH: /* as over a network: whoever closes a file waits */
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        reply(in, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: /* the request it is about has its answer already */
        break;
    default: /* the kernel does it, or does without */
        reply(in, -ENOSYS, NULL, 0);
    }
}

/* ----- its life ----- */

enum mode { GO, HANG, HOLD };

#define HELD_MAX 64

/* Requests that were read and wait for "go", as blocks of malloc. */
static struct fuse_in_header *held[HELD_MAX];
static int held_count;

static void hold(const struct fuse_in_header *in, size_t len)
{
    if (held_count < HELD_MAX && (held[held_count] = malloc(len)) != NULL) {
        memcpy(held[held_count++], in, len);
    }
}

static void answer_held(void)
{
    int i;

    for (i = 0; i < held_count; i++) {
        answer(held[i]);
        free(held[i]);
    }
    held_count = 0;
}

static int take_request(enum mode mode)
{
    static union {
        struct fuse_in_header head;
        char bytes[REQUEST_MAX];
    } in;
    ssize_t n = read(device, in.bytes, sizeof(in.bytes));

    if (n >= (ssize_t)sizeof(in.head) && mode == HOLD) {
        hold(&in.head, (size_t)n);
    }
    else if (n >= (ssize_t)sizeof(in.head)) {
        answer(&in.head);
    }
    return n > 0 || errno == EINTR || errno == ENOENT || errno == EAGAIN;
}

static int attach(const char *directory)
{
    char options[128];

    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,"
             "group_id=0,allow_other,default_permissions,max_read=%d", device,
             WRITE_MAX);
    return device < 0 || mount("hangfs", directory, "fuse",
                               MS_NOSUID | MS_NODEV, options);
}

static enum mode mode_of(const char *line)
{
    if (!strncmp(line, "ha", 2)) {
        return HANG;
    }
    return strncmp(line, "ho", 2) ? GO : HOLD;
}

/* @return false: the input has ended */
static int take_command(enum mode *mode)
{
    char line[16];
    ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

    if (n <= 0) {
        return 0;
    }
    line[n] = '\0';
    *mode = mode_of(line);
    open_msec = strncmp(line, "slow ", 5) ? 0 : atoi(line + 5);
    open_error = strncmp(line, "fail", 4) ? 0 : -EIO;
    if (*mode == GO) {
        answer_held();
    }
    puts("ok");
    return 1;
}

int main(int argc, char **argv)
{
    struct pollfd polled[2] = { { STDIN_FILENO, POLLIN, 0 } };
    enum mode mode = GO;
    int goes_on = 1;

    if (argc != 2 || attach(argv[1])) {
        perror("hangfs: cannot mount");
        return 77;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");
    polled[1].fd = device;
    polled[1].events = POLLIN;
    while (goes_on && poll(polled, mode == HANG ? 1 : 2, -1) > 0) {
        if (polled[0].revents) {
            goes_on = take_command(&mode);
        }
        else if (polled[1].revents) {
            goes_on = take_request(mode);
        }
    }
    umount2(argv[1], MNT_DETACH);
    return 0;
}

#else

int main(void)
{
    fputs("hangfs: there is no FUSE here\n", stderr);
    return 77;
}

#endif
