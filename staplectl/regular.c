/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Reading a file in a directory of others, who may put anything there, and
 * exchange it at any moment: a pipe would make us wait, to open a device may do
 * something (a watchdog begins to count), and a file may grow without end.
 *
 * The one idea: where the system has O_PATH, what the path leads to is held
 * without being opened, asked what it is, and opened then by way of /proc.
 */

#include "staplectl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether it is one, and there is room for its bytes and one more. What has no
 * size is empty or, as in /proc, no file: who reads /proc/kmsg takes messages
 * of the kernel away from others. */
static int is_regular(const struct stat *info, apr_size_t room)
{
    return S_ISREG(info->st_mode) && info->st_size > 0
           && info->st_size < (off_t)room;
}

static int open_path(const char *path)
{
    return open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

#ifdef O_PATH

static int open_if_regular(const char *path, apr_size_t room)
{
    char name[40];
    struct stat info;
    int fd = -1, handle = open(path, O_PATH | O_CLOEXEC);

    if (handle < 0) {
        return -1;
    }
    if (fstat(handle, &info) || !is_regular(&info, room)) {
        errno = EINVAL;
    }
    else {
        snprintf(name, sizeof(name), "/proc/self/fd/%d", handle);
        fd = open_path(name);
        if (fd < 0 && errno == ENOENT) { /* there is no /proc */
            fd = open_path(path);
        }
    }
    close(handle);
    return fd;
}

#else

static int open_if_regular(const char *path, apr_size_t room)
{
    struct stat info;

    if (stat(path, &info)) {
        return -1;
    }
    if (!is_regular(&info, room)) {
        errno = EINVAL;
        return -1;
    }
    return open_path(path);
}

#endif

/* @param info what is known of it once it is open
 * @return a descriptor; -1: errno says why, EINVAL: it is no such file */
static int open_regular(const char *path, apr_size_t room, struct stat *info)
{
    int fd = open_if_regular(path, room);

    if (fd >= 0 && (fstat(fd, info) || !is_regular(info, room))) {
        close(fd);
        fd = -1;
        errno = EINVAL;
    }
    return fd;
}

/* Until the end, or until there is no more room. */
static ssize_t read_all(int fd, unsigned char *bytes, apr_size_t room)
{
    apr_size_t len = 0;
    ssize_t got = 1;

    while (got > 0 && len < room) {
        got = read(fd, bytes + len, room - len);
        len += got > 0 ? (apr_size_t)got : 0;
    }
    return got < 0 ? -1 : (ssize_t)len;
}

apr_ssize_t staplectl_read_regular(const char *path, unsigned char *bytes,
                                   apr_size_t room, apr_time_t *changed)
{
    struct stat info;
    ssize_t len;
    int fd = open_regular(path, room, &info);

    if (fd < 0) {
        return -1;
    }
    len = read_all(fd, bytes, room);
    close(fd);
    if (len == (ssize_t)room) {
        errno = EFBIG;
        return -1;
    }
    *changed = apr_time_from_sec(info.st_mtime);
    return len;
}
