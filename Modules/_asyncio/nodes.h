/* Node: a place in the tree of scopes.  Lib/asyncio/cancellation.py says what
   that is, and has the type in Python.

   A tree belongs to the thread of its tasks.  */

#ifndef Py_ASYNCIO_NODES_H
#define Py_ASYNCIO_NODES_H

/* cancellation._PyNode has the same fields, and comments on them.  An object
   is strong, or NULL or None for None.  */
typedef struct NodeObject {
    PyObject_HEAD
    /* First what a walk through the tree looks at.  */
    struct NodeObject *parent;
    PyObject *host;
    PyObject *members;
    /* The children, in their order: a list through them.  All are borrowed;
       a child has a reference to its parent, and leaves the list when it goes
       away.  */
    struct NodeObject *first;
    struct NodeObject *next;
    char cancelled;
    char effective;
    char noted;
    char hides;
    char holds;
    struct NodeObject *last;
    struct NodeObject *previous;
    /* If it is noted: the next one that is to be told.  */
    struct NodeObject *next_noted;
    PyObject *owner;
    PyObject *deadline;
    PyObject *msg;
} NodeObject;

NodeObject *asyncio_node_new(PyTypeObject *type);

/* Hang a node without a parent below one, or NULL.  */
void asyncio_node_attach(NodeObject *, NodeObject *parent);
/* These two may run any Python code: that of futures that are cancelled.
   Return 0, or -1 with an exception set.  */
int asyncio_node_detach(PyObject *module, NodeObject *);
int asyncio_node_cancel(PyObject *module, NodeObject *, PyObject *msg);
/* Borrowed; None is no text.  */
PyObject *asyncio_node_text(NodeObject *);

#endif  /* !Py_ASYNCIO_NODES_H */
