"""What of SQL the project may use: what CockroachDB 23.2 documents, as PostgreSQL's own parser names it.

It never ran on CockroachDB here, so this list stands for it. Whoever adds to it looks the new thing up in its
documentation (https://www.cockroachlabs.com/docs/v23.2/…) and names the page.
"""

# Nodes of the syntax tree, by the page that documents them.
NODES = {
    "select-clause": """
        SelectStmt ResTarget ColumnRef A_Star Alias SortBy RangeVar RangeSubselect RangeFunction RawStmt WindowDef
    """,  # RangeFunction: also WITH ORDINALITY, see "table-expressions"
    "joins": "JoinExpr",
    "select-for-update": "LockingClause",
    "common-table-expressions": "WithClause CommonTableExpr",
    "insert": "InsertStmt OnConflictClause InferClause IndexElem ReturningClause",
    "update": "UpdateStmt MultiAssignRef",  # UPDATE … FROM, too
    "delete": "DeleteStmt",  # DELETE … USING, too
    "scalar-expressions": """
        A_Expr A_Const BoolExpr CaseExpr CaseWhen CoalesceExpr MinMaxExpr NullTest ParamRef RowExpr SubLink TypeCast TypeName
        FuncCall A_ArrayExpr A_Indirection BooleanTest SQLValueFunction
    """,
    "sql-constants": "String Integer Boolean Float",
    "create-table": "CreateStmt ColumnDef Constraint",
    "create-index": "IndexStmt",  # and "partial-indexes"
    "create-schema": "CreateSchemaStmt",
    "alter-table": "AlterTableStmt AlterTableCmd",
    "set-vars": "VariableSetStmt VariableShowStmt",
}

# https://www.cockroachlabs.com/docs/v23.2/functions-and-operators, and window-functions of the same
FUNCTIONS = set(
    """
    bool_or btrim clock_timestamp count extract format_type gen_random_uuid jsonb_each_text jsonb_strip_nulls jsonb_typeof
    lag length lower max min now octet_length row_number set_config strpos sum unnest upper version has_database_privilege
    has_schema_privilege has_table_privilege current_database
    """.split()  # noqa: SIM905 - a list of words
)

# https://www.cockroachlabs.com/docs/v23.2/data-types; names as the parser gives them. "integer" is 64 bits wide there.
TYPES = {"bool", "bytea", "int4", "int8", "interval", "jsonb", "numeric", "regclass", "text", "timestamptz", "uuid"}

OPERATORS = {"=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "||", "->", "->>", "@>", "~~"}

LOCKS = {"LCS_FORUPDATE"}
CHANGES_OF_TABLES = {"AT_AddColumn"}
CONSTRAINTS = {"CONSTR_PRIMARY", "CONSTR_FOREIGN", "CONSTR_UNIQUE", "CONSTR_NOTNULL", "CONSTR_NULL", "CONSTR_DEFAULT"}
CONSTRAINTS |= {"CONSTR_CHECK"}
