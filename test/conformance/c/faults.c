/* The C client while members are killed and paused. One test at a time. */
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>

/* Repeats a write of n numbered nodes below the test's until all are there; an
 * attempt whose answer was lost may have succeeded. Returns how many attempts
 * lost their connection. */
static int write_nodes(struct client *c, int from, int to) {
    int lost = 0;
    for (int i = from; i < to; i++) {
        char below[32];
        snprintf(below, sizeof below, "/%06d", i);
        const char *node = path(below);
        struct timespec start, now;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int unsure = 0;;) {
            int rc = zoo_create(c->zh, node, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
            if (rc == ZOK || (unsure && rc == ZNODEEXISTS)) {
                break;
            }
            clock_gettime(CLOCK_MONOTONIC, &now);
            if ((rc != ZCONNECTIONLOSS && rc != ZOPERATIONTIMEOUT) || now.tv_sec - start.tv_sec > PATIENCE) {
                fail("%s: %s", node, zerror(rc));
            }
            unsure = 1;
            lost++;
        }
    }
    return lost;
}

static void verify(int count, int64_t session, const char *ephemeral) {
    for (int m = 1; m <= 3; m++) {
        struct client *c = connect_to(member(m), LONG_SESSION);
        settle(c);
        struct String_vector names;
        want(ZOK, zoo_get_children(c->zh, path(""), 0, &names), "children");
        int have = names.count;
        deallocate_String_vector(&names);
        same_int(count + 1, have, "nodes, the ephemeral included");
        struct Stat stat;
        want(ZOK, zoo_exists(c->zh, ephemeral, 0, &stat), ephemeral);
        same_int(session, stat.ephemeralOwner, "owner of the ephemeral");
        close_client(c);
    }
}

static void leader_killed(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    int64_t id = zoo_client_id(c->zh)->client_id;
    const char *ephemeral = path("/eph");
    want(ZOK, zoo_create(c->zh, ephemeral, "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0), "ephemeral");
    int written = 0;
    for (int round = 0; round < 2; round++) {
        write_nodes(c, written, written + 100);
        int leader = atoi(control("leader"));
        control("kill %d", leader);
        write_nodes(c, written + 100, written + 200);
        written += 200;
        control("start %d", leader);
        control("ready");
    }
    same_int(id, zoo_client_id(c->zh)->client_id, "session");
    verify(written, id, ephemeral);
}

static void member_paused(void) {
    char hosts[200];
    int victim = 1 + atoi(control("leader")) % 3;
    const char *first = member(victim), *second = member(1 + victim % 3);
    snprintf(hosts, sizeof hosts, "%s,%s", first, second);
    zoo_deterministic_conn_order(1);
    struct client *c = connect_to(hosts, 6000);
    zoo_deterministic_conn_order(0);
    same_text(first, zoo_get_current_server(c->zh), "the member to which it is connected");
    int64_t id = zoo_client_id(c->zh)->client_id;
    const char *ephemeral = path("/eph");
    want(ZOK, zoo_create(c->zh, ephemeral, "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0), "ephemeral");
    write_nodes(c, 0, 50);
    control("pause %d", victim);
    write_nodes(c, 50, 100);
    same_int(id, zoo_client_id(c->zh)->client_id, "session");
    control("resume %d", victim);
    control("ready");
    verify(100, id, ephemeral);
}

static void everybody_restarted(void) {
    struct client *c = connect_to(NULL, 60000);
    int64_t id = zoo_client_id(c->zh)->client_id;
    const char *ephemeral = path("/eph");
    want(ZOK, zoo_create(c->zh, ephemeral, "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0), "ephemeral");
    write_nodes(c, 0, 50);
    for (int m = 1; m <= 3; m++) {
        control("kill %d", m);
    }
    await_count(c, &c->disconnected, 1, "the disconnection");
    control("restore");
    await_count(c, &c->connected, 2, "the reconnection");
    write_nodes(c, 50, 100);
    same_int(id, zoo_client_id(c->zh)->client_id, "session");
    verify(100, id, ephemeral);
}

const struct test fault_tests[] = {
    {"leader_killed", leader_killed},
    {"member_paused", member_paused},
    {"everybody_restarted", everybody_restarted},
    {NULL, NULL},
};
