/* Node: a place in the tree of scopes.

   A node owns its parent, and what its fields name; its children are a list
   through them that owns nothing.  While the tree is walked no Python code
   runs: what is to be told is collected, and told when the walk is over.  A
   tree can be deep, so nothing here recurses.  */

#ifndef Py_BUILD_CORE_BUILTIN
#  define Py_BUILD_CORE_MODULE 1
#endif

#include "Python.h"
#include "structmember.h"
#include "pycore_modsupport.h"    // _PyArg_CheckPositional()
#include "scopes.h"

static inline PyObject *
or_none(void *field)
{
    return field == NULL ? Py_None : (PyObject *)field;
}

/* --- The list of the children --- */

static void
link_node(NodeObject *self, NodeObject *parent)
{
    self->parent = (NodeObject *)Py_NewRef(parent);
    self->previous = parent->last;
    if (parent->last != NULL) {
        parent->last->next = self;
    }
    else {
        parent->first = self;
    }
    parent->last = self;
}

/* Return the reference to the parent, for the caller to drop; or NULL.  */
static NodeObject *
unlink_node(NodeObject *self)
{
    NodeObject *parent = self->parent;
    if (parent == NULL) {
        return NULL;
    }
    if (self->previous != NULL) {
        self->previous->next = self->next;
    }
    else {
        parent->first = self->next;
    }
    if (self->next != NULL) {
        self->next->previous = self->previous;
    }
    else {
        parent->last = self->previous;
    }
    self->previous = self->next = self->parent = NULL;
    return parent;
}

/* --- What is cancelled --- */

static inline int
is_effective(NodeObject *self)
{
    return self->cancelled || (!self->hides && self->parent != NULL
                               && self->parent->effective);
}

/* What has become cancelled, in its order: a list through the nodes, with a
   reference to each.  */
typedef struct {
    NodeObject *first;
    NodeObject *last;
} Found;

static void
note(NodeObject *node, Found *found)
{
    if (node->noted || (is_none(node->host) && is_none(node->members))) {
        return;
    }
    node->noted = 1;
    Py_INCREF(node);
    if (found->last != NULL) {
        found->last->next_noted = node;
    }
    else {
        found->first = node;
    }
    found->last = node;
}

/* Return the reference to the first one.  */
static NodeObject *
take_noted(Found *found)
{
    NodeObject *node = found->first;
    found->first = node->next_noted;
    node->next_noted = NULL;
    node->noted = 0;
    return node;
}

/* Set what follows from a change in *root*, and note what has become
   cancelled, the outer before the inner.  */
static void
walk(NodeObject *root, Found *found)
{
    NodeObject *node = root;
    for (;;) {
        NodeObject *next = NULL;
        char effective = (char)is_effective(node);
        if (effective != node->effective) {
            node->effective = effective;
            if (effective) {
                note(node, found);
            }
            next = node->first;
        }
        while (next == NULL) {
            if (node == root) {
                return;
            }
            next = node->next;
            if (next == NULL) {
                node = node->parent;
            }
        }
        node = next;
    }
}

static int
deliver_in_c(PyObject *module, CancellerObject *canceller, NodeObject *node)
{
    if (canceller->node != (PyObject *)node) {
        return 0;
    }
    return asyncio_canceller_deliver(asyncio_canceller_state_of(module),
                                     canceller);
}

/* Ask the task of a canceller, which is a strong reference of the caller, if
   it is in this node and no inner one.  */
static int
deliver(PyObject *module, PyObject *canceller, NodeObject *node)
{
    if (asyncio_is_c_canceller(module, canceller)) {
        return deliver_in_c(module, (CancellerObject *)canceller, node);
    }
    ScopeState *state = asyncio_scope_state(module);
    PyObject *its_node = PyObject_GetAttr(canceller, state->node);
    if (its_node == NULL) {
        return -1;
    }
    Py_DECREF(its_node);
    if (its_node != (PyObject *)node) {
        return 0;
    }
    return call_and_forget(PyObject_CallMethodNoArgs(canceller,
                                                     state->deliver));
}

/* Ask the tasks of a group.  */
static void
deliver_to_members(PyObject *module, NodeObject *node, KeptError *error)
{
    PyObject *members = PySequence_List(node->members);
    if (members == NULL) {
        keep_error(error, -1);
        return;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(members); i++) {
        /* None of the many is touched again when the list goes.  */
        PyObject *member = PyList_GET_ITEM(members, i);
        PyList_SET_ITEM(members, i, Py_NewRef(Py_None));
        keep_error(error, deliver(module, member, node));
        Py_DECREF(member);
    }
    Py_DECREF(members);
}

/* Ask the parked tasks of what was noted, all of them, also after an error. */
static int
ask_all(PyObject *module, Found *found)
{
    KeptError error = {0};
    while (found->first != NULL) {
        NodeObject *node = take_noted(found);
        if (!is_none(node->members)) {
            deliver_to_members(module, node, &error);
        }
        else if (!is_none(node->host)) {
            PyObject *host = Py_NewRef(node->host);
            keep_error(&error, deliver(module, host, node));
            Py_DECREF(host);
        }
        Py_DECREF(node);
    }
    return raise_kept(&error);
}

static int
update(PyObject *module, NodeObject *self)
{
    Found found = {NULL, NULL};
    walk(self, &found);
    return ask_all(module, &found);
}

int
asyncio_node_cancel(PyObject *module, NodeObject *self, PyObject *msg)
{
    if (self->cancelled) {
        return 0;
    }
    self->cancelled = 1;
    Py_XSETREF(self->msg, Py_NewRef(msg));
    return update(module, self);
}

PyObject *
asyncio_node_text(NodeObject *self)
{
    PyObject *msg = Py_None;
    /* Around a node that is not cancelled, none is that is seen here.  */
    for (NodeObject *node = self; node != NULL && node->effective;
         node = node->parent) {
        if (node->cancelled) {
            msg = or_none(node->msg);
        }
        if (node->hides) {
            break;
        }
    }
    return msg;
}

/* --- Its place --- */

NodeObject *
asyncio_node_new(PyTypeObject *type)
{
    return (NodeObject *)type->tp_alloc(type, 0);
}

void
asyncio_node_attach(NodeObject *self, NodeObject *parent)
{
    NodeObject *before = unlink_node(self);
    if (parent != NULL) {
        link_node(self, parent);
    }
    self->effective = (char)is_effective(self);
    Py_XDECREF(before);
}

int
asyncio_node_detach(PyObject *module, NodeObject *self)
{
    NodeObject *parent = unlink_node(self);
    PyObject *host = self->host;
    self->host = NULL;
    Found found = {NULL, NULL};
    while (self->first != NULL) {
        NodeObject *child = self->first;
        NodeObject *before = unlink_node(child);
        if (parent != NULL) {
            link_node(child, parent);
        }
        walk(child, &found);
        /* Not the last one: the caller has a reference.  */
        Py_DECREF(before);
    }
    Py_XDECREF(parent);
    int res = ask_all(module, &found);
    Py_XDECREF(host);
    return res;
}

/* --- The type --- */

static PyObject *
node_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
    if (PyTuple_GET_SIZE(args) != 0
        || (kwds != NULL && PyDict_GET_SIZE(kwds) != 0)) {
        PyErr_SetString(PyExc_TypeError, "Node() takes no arguments");
        return NULL;
    }
    return (PyObject *)asyncio_node_new(type);
}

static int
node_traverse(PyObject *op, visitproc visit, void *arg)
{
    NodeObject *self = (NodeObject *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->parent);
    Py_VISIT(self->host);
    Py_VISIT(self->members);
    Py_VISIT(self->owner);
    Py_VISIT(self->deadline);
    Py_VISIT(self->msg);
    return 0;
}

static int
node_clear(PyObject *op)
{
    NodeObject *self = (NodeObject *)op;
    NodeObject *parent = unlink_node(self);
    Py_XDECREF(parent);
    Py_CLEAR(self->host);
    Py_CLEAR(self->members);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->deadline);
    Py_CLEAR(self->msg);
    return 0;
}

static void
node_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    /* For a deep tree whose innermost node goes last.  */
    Py_TRASHCAN_BEGIN(op, node_dealloc)
    PyObject_ClearWeakRefs(op);
    node_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static inline PyObject *
module_of(PyObject *op)
{
    return PyType_GetModule(Py_TYPE(op));
}

static PyObject *
import_python(PyObject *op, const char *name)
{
    ScopeState *state = asyncio_scope_state(module_of(op));
    return asyncio_import(&state->cancellation, "asyncio.cancellation", name);
}

/* Set *parent to a node, or to NULL for None.  */
static int
as_parent(PyObject *op, PyObject *arg, NodeObject **parent)
{
    *parent = NULL;
    if (Py_IsNone(arg)) {
        return 0;
    }
    if (!Py_IS_TYPE(arg, Py_TYPE(op))) {
        PyErr_SetString(PyExc_TypeError,
                        "a tree has nodes of one class only");
        return -1;
    }
    *parent = (NodeObject *)arg;
    return 0;
}

static PyObject *
node_attach(PyObject *op, PyObject *arg)
{
    NodeObject *parent;
    if (as_parent(op, arg, &parent) < 0) {
        return NULL;
    }
    asyncio_node_attach((NodeObject *)op, parent);
    Py_RETURN_NONE;
}

static PyObject *
node_link(PyObject *op, PyObject *arg)
{
    NodeObject *self = (NodeObject *)op;
    NodeObject *parent;
    if (as_parent(op, arg, &parent) < 0) {
        return NULL;
    }
    char effective = self->effective;
    asyncio_node_attach(self, parent);
    self->effective = effective;
    Py_RETURN_NONE;
}

static PyObject *
node_detach(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return none_or_null(asyncio_node_detach(module_of(op), (NodeObject *)op));
}

static PyObject *
node_cancel(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (!_PyArg_CheckPositional("cancel", nargs, 0, 1)) {
        return NULL;
    }
    return none_or_null(asyncio_node_cancel(module_of(op), (NodeObject *)op,
                                            nargs > 0 ? args[0] : Py_None));
}

static PyObject *
node_update(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return none_or_null(update(module_of(op), (NodeObject *)op));
}

static PyObject *
node_visible(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *nodes = PyList_New(0);
    if (nodes == NULL) {
        return NULL;
    }
    for (NodeObject *node = (NodeObject *)op; node != NULL;
         node = node->parent) {
        if (PyList_Append(nodes, (PyObject *)node) < 0) {
            Py_DECREF(nodes);
            return NULL;
        }
        if (node->hides) {
            break;
        }
    }
    PyObject *iterator = PyObject_GetIter(nodes);
    Py_DECREF(nodes);
    return iterator;
}

static PyObject *
node_text(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(asyncio_node_text((NodeObject *)op));
}

static PyObject *
node_adopt(PyObject *op, PyObject *task)
{
    CancellerState *state = asyncio_canceller_state_of(module_of(op));
    int res = asyncio_canceller_adopt(state, (NodeObject *)op, task);
    if (res != 0) {
        return none_or_null(res);
    }
    PyObject *adopt = import_python(op, "adopt_below");
    if (adopt == NULL) {
        return NULL;
    }
    PyObject *done = PyObject_CallFunctionObjArgs(adopt, op, task, NULL);
    Py_DECREF(adopt);
    return done;
}

/* Adopt what was made, or drop it and return NULL.  */
static PyObject *
adopted(PyObject *op, PyObject *task)
{
    if (call_and_forget(node_adopt(op, task)) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

static PyObject *
node_create(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    if (!_PyArg_CheckPositional("create", nargs, 2, 2)) {
        return NULL;
    }
    PyObject *owners = asyncio_pending_owners(module_of(op));
    PyObject *key = PyLong_FromVoidPtr(args[1]);
    if (key == NULL || PyDict_SetItem(owners, key, op) < 0) {
        Py_XDECREF(key);
        return NULL;
    }
    PyObject *task = PyObject_Vectorcall(args[0], args + 1, 1, kwnames);
    KeptError error = {0};
    keep_error(&error, task == NULL ? -1 : 0);
    int unclaimed = PyDict_Pop(owners, key, NULL);
    Py_DECREF(key);
    keep_error(&error, unclaimed);
    if (raise_kept(&error) < 0) {
        Py_CLEAR(task);
    }
    /* A factory wrapped the coroutine, or has tasks of its own.  */
    return task != NULL && unclaimed ? adopted(op, task) : task;
}

static PyObject *
node_get_parent(PyObject *op, void *Py_UNUSED(ignored))
{
    return Py_NewRef(or_none(((NodeObject *)op)->parent));
}

static PyObject *
node_get_children(PyObject *op, void *Py_UNUSED(ignored))
{
    PyObject *children = PyDict_New();
    if (children == NULL) {
        return NULL;
    }
    for (NodeObject *child = ((NodeObject *)op)->first; child != NULL;
         child = child->next) {
        if (PyDict_SetItem(children, (PyObject *)child, Py_None) < 0) {
            Py_DECREF(children);
            return NULL;
        }
    }
    return children;
}

static PyMethodDef node_methods[] = {
    {"attach", node_attach, METH_O, NULL},
    {"link", node_link, METH_O,
     PyDoc_STR("Hang it below *parent*; update() is to tell what that "
               "changes.")},
    {"detach", node_detach, METH_NOARGS,
     PyDoc_STR("Leave the tree; what is below gets to the parent.")},
    {"cancel", _PyCFunction_CAST(node_cancel), METH_FASTCALL, NULL},
    {"update", node_update, METH_NOARGS,
     PyDoc_STR("Tell what is below of a change in this node.")},
    {"visible", node_visible, METH_NOARGS,
     PyDoc_STR("Iterate over the nodes whose cancellation is seen here.")},
    {"text", node_text, METH_NOARGS,
     PyDoc_STR("Return the message of the outermost visible cancelled "
               "node.")},
    {"create", _PyCFunction_CAST(node_create), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("Return make(coro, **kwargs): a task of this node's group.")},
    {"adopt", node_adopt, METH_O,
     PyDoc_STR("Take a new task of this node's group, before its first "
               "step.")},
    {NULL, NULL}
};

static PyGetSetDef node_getset[] = {
    {"parent", node_get_parent, NULL, NULL},
    {"children", node_get_children, NULL, NULL},
    {NULL}
};

#define FIELD(name, type) \
    {#name, type, offsetof(NodeObject, name), 0, NULL}

static PyMemberDef node_members[] = {
    FIELD(host, _Py_T_OBJECT),
    FIELD(members, _Py_T_OBJECT),
    FIELD(owner, _Py_T_OBJECT),
    FIELD(deadline, _Py_T_OBJECT),
    FIELD(msg, _Py_T_OBJECT),
    FIELD(cancelled, Py_T_BOOL),
    FIELD(effective, Py_T_BOOL),
    FIELD(noted, Py_T_BOOL),
    FIELD(hides, Py_T_BOOL),
    FIELD(holds, Py_T_BOOL),
    {NULL}
};

static PyType_Slot node_slots[] = {
    {Py_tp_doc, (void *)"A place in the tree of scopes.\n\n"
                        "Its fields are changed by the methods here only."},
    {Py_tp_new, node_new},
    {Py_tp_dealloc, node_dealloc},
    {Py_tp_traverse, node_traverse},
    {Py_tp_clear, node_clear},
    {Py_tp_methods, node_methods},
    {Py_tp_members, node_members},
    {Py_tp_getset, node_getset},
    {0, NULL},
};

PyType_Spec asyncio_node_spec = {
    .name = "asyncio.cancellation.Node",
    .basicsize = sizeof(NodeObject),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC
              | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_MANAGED_WEAKREF),
    .slots = node_slots,
};
