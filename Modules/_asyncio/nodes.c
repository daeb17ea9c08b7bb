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

/* What is to be told, in its order.  */
typedef struct {
    PyObject *list;     /* strong: of cancellers in C, and of nodes */
    int has_nodes;      /* whose cancellers it takes Python code to find */
} Found;

/* Add the cancellers that are right in a node of a group; return 1, or 0 if
   not all of the group's are in C, or -1.  */
static int
note_members(PyObject *module, NodeObject *node, PyObject *list)
{
    if (!PyDict_CheckExact(node->members)) {
        return 0;
    }
    Py_ssize_t before = PyList_GET_SIZE(list);
    Py_ssize_t pos = 0;
    PyObject *member;
    while (PyDict_Next(node->members, &pos, &member, NULL)) {
        if (!asyncio_is_c_canceller(module, member)) {
            return PyList_SetSlice(list, before, PY_SSIZE_T_MAX, NULL);
        }
        if (((CancellerObject *)member)->node == (PyObject *)node
            && PyList_Append(list, member) < 0) {
            return -1;
        }
    }
    return 1;
}

/* Add what is to be told of a node that has become cancelled: the cancellers
   that are right in it, or the node if it takes Python code to say.  */
static int
note(PyObject *module, NodeObject *node, Found *found)
{
    PyObject *host = or_none(node->host);
    if (or_none(node->members) != Py_None) {
        int res = note_members(module, node, found->list);
        if (res != 0) {
            return res < 0 ? -1 : 0;
        }
    }
    else if (Py_IsNone(host)) {
        return 0;
    }
    else if (asyncio_is_c_canceller(module, host)) {
        return (((CancellerObject *)host)->node == (PyObject *)node
                ? PyList_Append(found->list, host) : 0);
    }
    found->has_nodes = 1;
    return PyList_Append(found->list, (PyObject *)node);
}

/* Set what follows from a change in *root*, and note what has become
   cancelled, the outer before the inner.  */
static int
walk(PyObject *module, NodeObject *root, Found *found)
{
    NodeObject *node = root;
    for (;;) {
        NodeObject *next = NULL;
        char effective = (char)is_effective(node);
        if (effective != node->effective) {
            node->effective = effective;
            if (effective && note(module, node, found) < 0) {
                return -1;
            }
            next = node->first;
        }
        while (next == NULL) {
            if (node == root) {
                return 0;
            }
            next = node->next;
            if (next == NULL) {
                node = node->parent;
            }
        }
        node = next;
    }
}

/* Return 1 if a canceller is in this node and no inner one, 0 if not, or -1. */
static int
is_in(PyObject *module, PyObject *canceller, NodeObject *node)
{
    PyObject *its_node = PyObject_GetAttr(
        canceller, asyncio_scope_state(module)->node);
    if (its_node == NULL) {
        return -1;
    }
    Py_DECREF(its_node);
    return its_node == (PyObject *)node;
}

/* Add the cancellers of tasks that are right in this node to a list.  */
static int
add_reached(PyObject *module, NodeObject *node, PyObject *reached)
{
    if (or_none(node->members) == Py_None) {
        PyObject *host = Py_NewRef(or_none(node->host));
        int res = Py_IsNone(host) ? 0 : is_in(module, host, node);
        if (res > 0) {
            res = PyList_Append(reached, host);
        }
        Py_DECREF(host);
        return res;
    }
    PyObject *members = PySequence_List(node->members);
    if (members == NULL) {
        return -1;
    }
    int res = 0;
    for (Py_ssize_t i = 0; res >= 0 && i < PyList_GET_SIZE(members); i++) {
        res = is_in(module, PyList_GET_ITEM(members, i), node);
        if (res > 0) {
            res = PyList_Append(reached, PyList_GET_ITEM(members, i));
        }
    }
    Py_DECREF(members);
    return res < 0 ? -1 : 0;
}

/* Put the cancellers in the place of the nodes.  */
static int
replace_nodes(PyObject *module, Found *found)
{
    PyTypeObject *type = asyncio_scope_state(module)->node_type;
    PyObject *reached = PyList_New(0);
    int res = reached == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; res == 0 && i < PyList_GET_SIZE(found->list); i++) {
        PyObject *item = PyList_GET_ITEM(found->list, i);
        res = (Py_IS_TYPE(item, type)
               ? add_reached(module, (NodeObject *)item, reached)
               : PyList_Append(reached, item));
    }
    if (reached != NULL) {
        Py_SETREF(found->list, reached);
    }
    return res;
}

static int
deliver(PyObject *module, PyObject *canceller)
{
    if (asyncio_is_c_canceller(module, canceller)) {
        return asyncio_canceller_deliver(asyncio_canceller_state_of(module),
                                         (CancellerObject *)canceller);
    }
    PyObject *res = PyObject_CallMethodNoArgs(
        canceller, asyncio_scope_state(module)->deliver);
    Py_XDECREF(res);
    return res == NULL ? -1 : 0;
}

/* Ask the parked tasks of what was noted.  */
static int
ask_all(PyObject *module, Found *found)
{
    int res = found->has_nodes ? replace_nodes(module, found) : 0;
    for (Py_ssize_t i = 0; res == 0 && i < PyList_GET_SIZE(found->list); i++) {
        /* None of the many is touched again when the list goes.  */
        PyObject *canceller = PyList_GET_ITEM(found->list, i);
        PyList_SET_ITEM(found->list, i, Py_NewRef(Py_None));
        res = deliver(module, canceller);
        Py_DECREF(canceller);
    }
    return res;
}

static int
update(PyObject *module, NodeObject *self)
{
    if (is_effective(self) == self->effective) {
        return 0;
    }
    Found found = {PyList_New(0), 0};
    if (found.list == NULL) {
        return -1;
    }
    int res = walk(module, self, &found);
    if (res == 0) {
        res = ask_all(module, &found);
    }
    Py_DECREF(found.list);
    return res;
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
    for (NodeObject *node = self; node != NULL; node = node->parent) {
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

/* Give the children to a parent, or to nobody, and return them as a list.  */
static PyObject *
give_away(NodeObject *self, NodeObject *parent)
{
    PyObject *children = PyList_New(0);
    if (children == NULL) {
        return NULL;
    }
    for (NodeObject *child = self->first; child != NULL; child = child->next) {
        if (PyList_Append(children, (PyObject *)child) < 0) {
            Py_DECREF(children);
            return NULL;
        }
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(children); i++) {
        NodeObject *child = (NodeObject *)PyList_GET_ITEM(children, i);
        NodeObject *before = unlink_node(child);
        if (parent != NULL) {
            link_node(child, parent);
        }
        /* Not the last one: the caller has a reference.  */
        Py_DECREF(before);
    }
    return children;
}

static int
detach_with_children(PyObject *module, NodeObject *self, NodeObject *parent)
{
    PyObject *children = give_away(self, parent);
    if (children == NULL) {
        return -1;
    }
    Found found = {PyList_New(0), 0};
    int res = found.list == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; res == 0 && i < PyList_GET_SIZE(children); i++) {
        res = walk(module, (NodeObject *)PyList_GET_ITEM(children, i), &found);
    }
    if (res == 0) {
        res = ask_all(module, &found);
    }
    Py_XDECREF(found.list);
    Py_DECREF(children);
    return res;
}

int
asyncio_node_detach(PyObject *module, NodeObject *self)
{
    NodeObject *parent = unlink_node(self);
    PyObject *host = self->host;
    self->host = NULL;
    int res = 0;
    if (self->first != NULL) {
        res = detach_with_children(module, self, parent);
    }
    Py_XDECREF(parent);
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
node_create(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *create = import_python(op, "create_below");
    if (create == NULL) {
        return NULL;
    }
    PyObject *task = NULL;
    PyObject *self = PyTuple_Pack(1, op);
    PyObject *all = self == NULL ? NULL : PySequence_Concat(self, args);
    if (all != NULL) {
        task = PyObject_Call(create, all, kwargs);
    }
    Py_XDECREF(all);
    Py_XDECREF(self);
    Py_DECREF(create);
    return task;
}

static PyObject *
node_adopt(PyObject *op, PyObject *task)
{
    PyObject *adopt = import_python(op, "adopt_below");
    if (adopt == NULL) {
        return NULL;
    }
    PyObject *res = PyObject_CallFunctionObjArgs(adopt, op, task, NULL);
    Py_DECREF(adopt);
    return res;
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
    {"create", _PyCFunction_CAST(node_create), METH_VARARGS | METH_KEYWORDS,
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
