/* Every operation that the C API has. */
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads a node's data as text. */
static const char *read_text(struct client *c, const char *node, struct Stat *stat) {
    static char buffer[4096];
    int length = sizeof buffer - 1;
    want(ZOK, zoo_get(c->zh, node, 0, buffer, &length, stat), node);
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

static void same_stat(const struct Stat *want, const struct Stat *got) {
    same_int(want->czxid, got->czxid, "czxid");
    same_int(want->mzxid, got->mzxid, "mzxid");
    same_int(want->pzxid, got->pzxid, "pzxid");
    same_int(want->ctime, got->ctime, "ctime");
    same_int(want->mtime, got->mtime, "mtime");
    same_int(want->version, got->version, "version");
    same_int(want->cversion, got->cversion, "cversion");
    same_int(want->aversion, got->aversion, "aversion");
    same_int(want->ephemeralOwner, got->ephemeralOwner, "ephemeralOwner");
    same_int(want->dataLength, got->dataLength, "dataLength");
    same_int(want->numChildren, got->numChildren, "numChildren");
}

static void create_modes(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    const struct {
        int mode;
        const char *name, *made;
    } cases[] = {
        {ZOO_PERSISTENT, "/persistent", "/persistent"},
        {ZOO_EPHEMERAL, "/ephemeral", "/ephemeral"},
        {ZOO_PERSISTENT_SEQUENTIAL, "/seq-", "/seq-0000000002"},
        {ZOO_EPHEMERAL_SEQUENTIAL, "/eseq-", "/eseq-0000000003"},
        {ZOO_CONTAINER, "/container", "/container"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char made[256];
        struct Stat created, read;
        want(ZOK, zoo_create2(c->zh, path(cases[i].name), "data", 4, &ZOO_OPEN_ACL_UNSAFE, cases[i].mode, made, sizeof made, &created), cases[i].name);
        same_text(path(cases[i].made), made, "path of the new node");
        same_text("data", read_text(c, made, &read), "data");
        same_stat(&created, &read);
        int ephemeral = cases[i].mode == ZOO_EPHEMERAL || cases[i].mode == ZOO_EPHEMERAL_SEQUENTIAL;
        same_int(ephemeral ? zoo_client_id(c->zh)->client_id : 0, read.ephemeralOwner, "ephemeralOwner");
        same_int(created.czxid, created.mzxid, "mzxid");
    }
    char made[256];
    want(ZOK, zoo_create(c->zh, path("/plain"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, made, sizeof made), "create");
    same_text(path("/plain"), made, "path of the new node");
    int length = 10;
    char buffer[10];
    want(ZOK, zoo_get(c->zh, made, 0, buffer, &length, NULL), "get");
    same_int(-1, length, "length of null data");
}

static void create_ttl(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    char made[256];
    struct Stat stat;
    want(ZOK, zoo_create_ttl(c->zh, path("/long"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 3600000, made, sizeof made), "create_ttl");
    want(ZOK, zoo_create2_ttl(c->zh, path("/seq-"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL, 3600000, made, sizeof made, &stat), "create2_ttl");
    same_text(path("/seq-0000000001"), made, "path of the new node");
    same_int(0, stat.ephemeralOwner, "ephemeralOwner");
    want(ZNONODE, zoo_wexists(c->zh, path("/short"), on_event, c, NULL), "exists");
    want(ZOK, zoo_create_ttl(c->zh, path("/short"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 300, NULL, 0), "create_ttl");
    expect_event(c, ZOO_CREATED_EVENT, path("/short"));
    if (zoo_wexists(c->zh, path("/short"), on_event, c, NULL) == ZOK) {
        expect_event(c, ZOO_DELETED_EVENT, path("/short"));
    }
    want(ZNONODE, zoo_exists(c->zh, path("/short"), 0, NULL), "the node after its time");
    want(ZOK, zoo_exists(c->zh, path("/long"), 0, NULL), "the other node");
}

static void data(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    struct Stat stat;
    create(c, path("/a"));
    want(ZOK, zoo_set(c->zh, path("/a"), "one", 3, 0), "set");
    want(ZOK, zoo_set2(c->zh, path("/a"), "three", 5, 1, &stat), "set2");
    same_int(2, stat.version, "version");
    same_int(5, stat.dataLength, "dataLength");
    want(ZBADVERSION, zoo_set(c->zh, path("/a"), "no", 2, 1), "set with an old version");
    same_text("three", read_text(c, path("/a"), &stat), "data");
    want(ZBADVERSION, zoo_delete(c->zh, path("/a"), 0), "delete with an old version");
    want(ZOK, zoo_delete(c->zh, path("/a"), 2), "delete");
    want(ZNONODE, zoo_exists(c->zh, path("/a"), 0, &stat), "exists");
}

static void errors(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    create(c, path("/a"));
    create(c, path("/a/b"));
    struct ACL bad = {ZOO_PERM_ALL, {"nosuch", "x"}};
    struct ACL_vector acl = {1, &bad};
    want(ZNODEEXISTS, zoo_create(c->zh, path("/a"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), "existing");
    want(ZNONODE, zoo_create(c->zh, path("/no/way"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), "no parent");
    want(ZINVALIDACL, zoo_create(c->zh, path("/c"), NULL, -1, &acl, 0, NULL, 0), "bad ACL");
    want(ZINVALIDACL, zoo_set_acl(c->zh, path("/a"), -1, &acl), "bad ACL");
    want(ZNOTEMPTY, zoo_delete(c->zh, path("/a"), -1), "not empty");
    want(ZNONODE, zoo_delete(c->zh, path("/no"), -1), "nothing to delete");
    want(ZNONODE, zoo_set(c->zh, path("/no"), NULL, -1, -1), "nothing to set");
    want(ZOK, zoo_create(c->zh, path("/eph"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0), "ephemeral");
    want(ZNOCHILDRENFOREPHEMERALS, zoo_create(c->zh, path("/eph/x"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), "child of an ephemeral");
    want(ZBADARGUMENTS, zoo_delete(c->zh, "/zookeeper", -1), "delete /zookeeper");
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void children(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    struct String_vector names;
    struct Stat stat;
    create(c, path("/b"));
    create(c, path("/a"));
    create(c, path("/a/deep"));
    want(ZOK, zoo_get_children(c->zh, path(""), 0, &names), "get_children");
    same_int(2, names.count, "children");
    qsort(names.data, names.count, sizeof names.data[0], by_name);
    same_text("a", names.data[0], "first child");
    same_text("b", names.data[1], "second child");
    deallocate_String_vector(&names);
    want(ZOK, zoo_get_children2(c->zh, path(""), 0, &names, &stat), "get_children2");
    same_int(2, names.count, "children");
    same_int(2, stat.numChildren, "numChildren");
    same_int(2, stat.cversion, "cversion");
    deallocate_String_vector(&names);
    want(ZNONODE, zoo_get_children(c->zh, path("/no"), 0, &names), "children of a missing node");
}

static void on_auth(int rc, const void *data) {
    if (rc == ZOK) {
        answered((struct client *)data);
    }
}

static void login(struct client *c, const char *user) {
    int before = c->answers;
    want(ZOK, zoo_add_auth(c->zh, "digest", user, strlen(user), on_auth, c), "add_auth");
    await_count(c, &c->answers, before + 1, "the answer to add_auth");
}

static void digest_acl(void) {
    struct client *owner = connect_to(NULL, LONG_SESSION);
    struct client *other = connect_to(NULL, LONG_SESSION);
    login(owner, "owner:secret");
    want(ZOK, zoo_create(owner->zh, path("/mine"), "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0), "create");
    settle(other);
    char buffer[10];
    int length = sizeof buffer;
    want(ZNOAUTH, zoo_get(other->zh, path("/mine"), 0, buffer, &length, NULL), "get by another one");
    want(ZNOAUTH, zoo_set(other->zh, path("/mine"), "y", 1, -1), "set by another one");
    struct ACL_vector acl;
    struct Stat stat;
    want(ZOK, zoo_get_acl(owner->zh, path("/mine"), &acl, &stat), "get_acl");
    same_int(1, acl.count, "entries");
    same_text("digest", acl.data[0].id.scheme, "scheme");
    same_int(0, strncmp(acl.data[0].id.id, "owner:", 6), "the id's difference from owner:...");
    deallocate_ACL_vector(&acl);
    want(ZOK, zoo_set_acl(owner->zh, path("/mine"), 0, &ZOO_OPEN_ACL_UNSAFE), "set_acl");
    want(ZBADVERSION, zoo_set_acl(owner->zh, path("/mine"), 0, &ZOO_OPEN_ACL_UNSAFE), "set_acl with an old version");
    settle(other);
    want(ZOK, zoo_set(other->zh, path("/mine"), "y", 1, -1), "set by another one, opened");
}

static void super_user(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    struct ACL entry = {ZOO_PERM_ALL, {"digest", "nobody:nothing"}};
    struct ACL_vector acl = {1, &entry};
    want(ZOK, zoo_create(c->zh, path("/closed"), "x", 1, &acl, 0, NULL, 0), "create");
    want(ZNOAUTH, zoo_set(c->zh, path("/closed"), "y", 1, -1), "set");
    char user[100];
    snprintf(user, sizeof user, "super:%s", getenv("PASSWORD"));
    login(c, user);
    want(ZOK, zoo_set(c->zh, path("/closed"), "y", 1, -1), "set as super");
}

static void auth_failed(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    want(ZOK, zoo_add_auth(c->zh, "nosuch", "x", 1, on_auth, c), "add_auth");
    await_count(c, &c->auth_failed, 1, "the failed authentication");
    want(ZINVALIDSTATE, zoo_exists(c->zh, "/", 0, NULL), "exists afterwards");
}

static void multi(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    create(c, path("/old"));
    char first[256], second[256], third[256];
    struct Stat stat;
    zoo_op_t ops[6];
    zoo_op_result_t results[6];
    zoo_create_op_init(&ops[0], path("/a"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, first, sizeof first);
    zoo_create_op_init(&ops[1], path("/s-"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, second, sizeof second);
    zoo_create_op_init(&ops[2], path("/eph"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, third, sizeof third);
    zoo_set_op_init(&ops[3], path("/a"), "22", 2, 0, &stat);
    zoo_check_op_init(&ops[4], path("/a"), 1);
    zoo_delete_op_init(&ops[5], path("/old"), 0);
    want(ZOK, zoo_multi(c->zh, 6, ops, results), "multi");
    for (int i = 0; i < 6; i++) {
        want(ZOK, results[i].err, "result");
    }
    same_text(path("/a"), first, "first path");
    same_text(path("/s-0000000002"), second, "second path");
    same_text(path("/eph"), third, "third path");
    same_int(1, stat.version, "version");
    want(ZNONODE, zoo_exists(c->zh, path("/old"), 0, NULL), "the deleted node");
}

static void multi_failure(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    zoo_create_op_init(&ops[0], path("/a"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_set_op_init(&ops[1], path("/a"), "2", 1, 0, NULL);
    zoo_check_op_init(&ops[2], path("/a"), 7);
    zoo_delete_op_init(&ops[3], path("/a"), -1);
    want(ZBADVERSION, zoo_multi(c->zh, 4, ops, results), "multi");
    const int codes[] = {ZOK, ZOK, ZBADVERSION, ZRUNTIMEINCONSISTENCY};
    for (int i = 0; i < 4; i++) {
        want(codes[i], results[i].err, "result");
    }
    want(ZNONODE, zoo_exists(c->zh, path("/a"), 0, NULL), "what the failed multi created");
}

static void on_sync(int rc, const char *value, const void *data) {
    if (rc == ZOK && strcmp(value, "/there/is/no/such/node") == 0) {
        answered((struct client *)data);
    }
}

static void sync_path(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    want(ZOK, zoo_async(c->zh, "/there/is/no/such/node", on_sync, c), "sync");
    await_count(c, &c->answers, 1, "the answer to sync");
}

static void config(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    char buffer[4096];
    int length = sizeof buffer - 1;
    struct Stat stat;
    want(ZOK, zoo_getconfig(c->zh, 0, buffer, &length, &stat), "getconfig");
    buffer[length] = 0;
    if (strstr(buffer, "server.1=127.") == NULL || strstr(buffer, ":participant;") == NULL || strstr(buffer, "version=") == NULL) {
        fail("the configuration is %s", buffer);
    }
    length = sizeof buffer;
    want(ZRECONFIGDISABLED, zoo_reconfig(c->zh, NULL, "3", NULL, -1, buffer, &length, &stat), "reconfig");
}

static void large_data(void) {
    struct client *c = connect_to(NULL, LONG_SESSION);
    const int size = 0xfffff - 500;
    char *out = malloc(size), *in = malloc(size);
    memset(out, 'z', size);
    int created = zoo_create(c->zh, path("/large"), out, size, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    int length = size;
    int got = zoo_get(c->zh, path("/large"), 0, in, &length, NULL);
    int difference = memcmp(in, out, size);
    free(in);
    free(out);
    want(ZOK, created, "create");
    want(ZOK, got, "get");
    same_int(size, length, "length");
    same_int(0, difference, "difference");
}

/* What the asynchronous calls of a pipeline were answered, in order. */
static struct {
    struct client *c;
    int count;
    int codes[2000];
    char values[2000][12];
} pipeline;

static void note(int rc, const char *value, int length) {
    int i = pipeline.count++;
    pipeline.codes[i] = rc;
    snprintf(pipeline.values[i], sizeof pipeline.values[i], "%.*s", length < 0 ? 0 : length, value == NULL ? "" : value);
    answered(pipeline.c);
}

static void on_set(int rc, const struct Stat *stat, const void *data) {
    (void)stat;
    (void)data;
    note(rc, "set", 3);
}

static void on_get(int rc, const char *value, int length, const struct Stat *stat, const void *data) {
    (void)stat;
    (void)data;
    note(rc, value, length);
}

static void on_delete(int rc, const void *data) {
    (void)data;
    note(rc, "delete", 6);
}

static void async_pipeline(void) {
    enum { ROUNDS = 300 };
    struct client *c = connect_to(member(2), LONG_SESSION);
    create(c, path("/a"));
    memset(&pipeline, 0, sizeof pipeline);
    pipeline.c = c;
    int before = c->answers;
    for (int i = 0; i < ROUNDS; i++) {
        char text[12];
        int length = snprintf(text, sizeof text, "%d", i);
        want(ZOK, zoo_aset(c->zh, path("/a"), text, length, i, on_set, NULL), "aset");
        want(ZOK, zoo_aget(c->zh, path("/a"), 0, on_get, NULL), "aget");
        want(ZOK, zoo_adelete(c->zh, path("/a"), i, on_delete, NULL), "adelete");
    }
    await_count(c, &c->answers, before + 3 * ROUNDS, "the last answer");
    for (int i = 0; i < ROUNDS; i++) {
        char text[12];
        snprintf(text, sizeof text, "%d", i);
        want(ZOK, pipeline.codes[3 * i], "set");
        same_text("set", pipeline.values[3 * i], "first of three answers");
        want(ZOK, pipeline.codes[3 * i + 1], "get");
        same_text(text, pipeline.values[3 * i + 1], "second of three answers");
        want(ZBADVERSION, pipeline.codes[3 * i + 2], "delete");
        same_text("delete", pipeline.values[3 * i + 2], "third of three answers");
    }
}

const struct test operation_tests[] = {
    {"create_modes", create_modes},
    {"create_ttl", create_ttl},
    {"data", data},
    {"errors", errors},
    {"children", children},
    {"digest_acl", digest_acl},
    {"super_user", super_user},
    {"auth_failed", auth_failed},
    {"multi", multi},
    {"multi_failure", multi_failure},
    {"sync_path", sync_path},
    {"config", config},
    {"large_data", large_data},
    {"async_pipeline", async_pipeline},
    {NULL, NULL},
};
