/* What the C tests share: a client with a queue of what its watchers were told,
 * assertions, and the harness's control port. */
#ifndef SUITE_H
#define SUITE_H

#include <pthread.h>
#include <stdint.h>
#include <zookeeper/zookeeper.h>

/* A session that no test is meant to lose, and one that expires soon (ms). */
enum { LONG_SESSION = 30000, SHORT_SESSION = 2000 };

/* Bounds every wait; nothing waits that long unless something is wrong (s). */
enum { PATIENCE = 45 };

struct event {
    int type;
    int state;
    char path[256];
};

/* One handle. The fields behind the lock are written by the library's threads. */
struct client {
    zhandle_t *zh;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Events about nodes, oldest first. */
    struct event events[64];
    int event_count;
    /* How often each session state was reported. */
    int connected, disconnected, expired, auth_failed;
    /* Completions that were counted with answered(). */
    int answers;
};

/* Ends the running test as failed. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void same_int(long long want, long long got, const char *what);
void same_text(const char *want, const char *got, const char *what);
/* Wants a return code. */
void want(int code, int got, const char *what);

/* The node that belongs to the running test, and a path below it. The result
 * lives until the test ends. */
const char *path(const char *below);

/* A connected client, closed when the test ends. hosts NULL is the ensemble. */
struct client *connect_to(const char *hosts, int timeout);
/* A client that takes over a session, not necessarily connected. */
struct client *attach_to(const char *hosts, int timeout, const clientid_t *id);
/* The address of a member, from 1. */
const char *member(int number);
/* Closes the handle before the test ends. */
void close_client(struct client *c);

/* Waits until the counter (a field of c) has reached count. */
void await_count(struct client *c, const int *counter, int count, const char *what);
/* Counts one completion. */
void answered(struct client *c);
/* Wants the next event about a node to be this one. */
void expect_event(struct client *c, int type, const char *path);
/* Wants no event about a node to be waiting. */
void expect_no_event(struct client *c);
/* Waits until c's member shows all that was acknowledged before. It takes a write,
 * even if one that fails: ZooKeeper's leader answers a sync before it has applied
 * what others have. */
void settle(struct client *c);
/* The watcher for the zoo_w* functions; its context is a struct client. */
void on_event(zhandle_t *zh, int type, int state, const char *path, void *context);

/* Creates a persistent node with the data "x". */
void create(struct client *c, const char *path);
/* Asks the harness, see ensemble/control.go; returns what follows "ok". */
const char *control(const char *format, ...) __attribute__((format(printf, 1, 2)));

typedef void (*test_function)(void);
struct test {
    const char *name;
    test_function run;
};

extern const struct test operation_tests[];
extern const struct test watch_tests[];
extern const struct test session_tests[];
extern const struct test fault_tests[];

#endif
