"""What of SQL the project may use: what CockroachDB 23.2 documents, as PostgreSQL's own parser names it.

It never ran on CockroachDB here, so this list stands for it. Every entry was looked up, in November 2026, in

- its documentation for 23.2: the pages named below are src/current/v23.2/<page>.md in the repository cockroachdb/docs;
- its lists of functions and operators, which the documentation includes: docs/generated/sql/{functions,aggregates,
  window_functions,operators}.md in cockroachdb/cockroach, in states of 2018 to 2022. What they list has stayed.

Whoever adds an entry looks it up there and names the page.
"""

# Nodes of the syntax tree, by the page that documents them.
NODES = {
    "select-clause": """
        SelectStmt ResTarget ColumnRef A_Star Alias SortBy RangeVar RangeSubselect RangeFunction RawStmt WindowDef
    """,  # DISTINCT ON, too; WITH ORDINALITY: "sql-feature-support"; frames of windows: "window-functions"
    "joins": "JoinExpr",
    "select-for-update": "LockingClause",  # OF, SKIP LOCKED and NOWAIT, too
    "common-table-expressions": "WithClause CommonTableExpr",  # MATERIALIZED, too
    "insert": "InsertStmt OnConflictClause InferClause IndexElem ReturningClause",  # AS alias, DO UPDATE … WHERE
    "update": "UpdateStmt MultiAssignRef",  # UPDATE … FROM, too
    "delete": "DeleteStmt",  # DELETE … USING, too
    "scalar-expressions": """
        A_Expr A_Const BoolExpr CaseExpr CaseWhen CoalesceExpr MinMaxExpr NullTest ParamRef RowExpr SubLink TypeCast TypeName
        FuncCall A_ArrayExpr A_Indirection A_Indices BooleanTest SQLValueFunction
    """,  # an element past an array's end is NULL there, too
    # MinMaxExpr: the functions greatest and least, of which CockroachDB's pass over NULL, too
    "sql-constants": "String Integer Boolean Float",
    "create-table": "CreateStmt ColumnDef Constraint",
    "create-index": "IndexStmt",  # and "partial-indexes"
    "create-schema": "CreateSchemaStmt",
    "alter-table": "AlterTableStmt AlterTableCmd",
    "set-vars": "VariableSetStmt VariableShowStmt",  # SET TIME ZONE, too
    "truncate": "TruncateStmt",
    "drop-schema": "DropStmt",
}

# By the sections of functions.md, then aggregates.md and window_functions.md. Arrays of several types in one unnest, too.
FUNCTIONS = {
    "Comparison functions": "greatest least",
    "Date and time functions": "clock_timestamp extract now",
    "ID generation functions": "gen_random_uuid",
    "JSONB functions": "jsonb_strip_nulls jsonb_typeof to_json",
    "Math and numeric functions": "mod",
    "Set-returning functions": "jsonb_each_text unnest",
    # sha256 of bytes gives its hexadecimal as a STRING there, bytes here: statements cast it to bytea before they encode it
    "String and byte functions": "btrim concat convert_to encode length lower octet_length sha256 strpos substr upper",
    "System info functions": "current_database version",
    "Compatibility functions": "current_setting format_type set_config",
    "the same, privileges": "has_database_privilege has_schema_privilege has_table_privilege",
    "none: asked of PostgreSQL only": "pg_database_size",
    "aggregates": "array_agg bool_or count max min string_agg sum",
    "windows": "lag row_number",
}

# "data-types"; names as the parser gives them. "integer" (int4) is 64 bits wide there. regclass: "oid".
TYPES = {"bool", "bytea", "int4", "int8", "interval", "jsonb", "numeric", "regclass", "text", "timestamptz", "uuid"}

# operators.md and "functions-and-operators". Not "/": of integers it makes a DECIMAL there, and an integer on PostgreSQL.
# JSONB values can be compared for equality only ("known-limitations"), which the parser does not tell.
OPERATORS = {"|", "&", "=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "||", "->", "->>", "@>", "~~"}

LOCKS = {"LCS_FORUPDATE"}
CHANGES_OF_TABLES = {"AT_AddColumn"}
CONSTRAINTS = {"CONSTR_PRIMARY", "CONSTR_FOREIGN", "CONSTR_UNIQUE", "CONSTR_NOTNULL", "CONSTR_NULL", "CONSTR_DEFAULT"}
CONSTRAINTS |= {"CONSTR_CHECK"}

# "session-variables"
SETTINGS = {"statement_timeout", "lock_timeout", "timezone", "transaction_read_only"}

# "pg-catalog": there, and not empty
CATALOG = {"pg_attribute", "pg_class", "pg_namespace"}

# names that CockroachDB alone reserves: cockroachdb_extra_reserved_keyword, type_func_name_crdb_extra_keyword of its grammar
RESERVED = {"family", "index", "nothing"}
