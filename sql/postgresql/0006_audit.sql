-- Applied with the migration of the same name, on PostgreSQL only. Lines of the audit log are not changed, nor removed unless
-- retention has taken note of it; of what is personal nothing is replaced, only erased. It stops the server's own statements and
-- whoever comes by its role without thinking of the trigger; whoever owns the tables can drop it.

CREATE FUNCTION sync.audit_lines_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT 1 FROM sync.audit_chains c WHERE c.chain_id = OLD.chain_id AND c.pruned >= OLD.number) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE FUNCTION sync.audit_details_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT 1 FROM sync.audit_chains c WHERE c.chain_id = OLD.chain_id AND c.pruned >= OLD.number) THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        IF (NEW.chain_id, NEW.number) = (OLD.chain_id, OLD.number)
            AND (NEW.content IS NULL OR NEW.content = OLD.content)
            AND (NEW.content_salt IS NULL OR NEW.content_salt = OLD.content_salt)
            AND (NEW.address IS NULL OR NEW.address = OLD.address)
            AND (NEW.address_salt IS NULL OR NEW.address_salt = OLD.address_salt)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'of the audit log nothing is changed but what is erased';
END
$$;

CREATE TRIGGER audit_lines_stay BEFORE UPDATE OR DELETE ON sync.audit_lines
    FOR EACH ROW EXECUTE FUNCTION sync.audit_lines_stay();
CREATE TRIGGER audit_details_stay BEFORE UPDATE OR DELETE ON sync.audit_details
    FOR EACH ROW EXECUTE FUNCTION sync.audit_details_stay();
CREATE TRIGGER audit_lines_are_not_emptied BEFORE TRUNCATE ON sync.audit_lines
    FOR EACH STATEMENT EXECUTE FUNCTION sync.audit_lines_stay();
CREATE TRIGGER audit_details_are_not_emptied BEFORE TRUNCATE ON sync.audit_details
    FOR EACH STATEMENT EXECUTE FUNCTION sync.audit_details_stay();
