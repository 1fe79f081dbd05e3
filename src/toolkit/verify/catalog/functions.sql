select p.oid::regprocedure::text as name, pg_get_userbyid(p.proowner) as owner, p.prokind as kind,
    l.lanname as language, pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result,
    case when p.prosqlbody is null then p.prosrc end as source, p.probin as binary_file,
    pg_get_function_sqlbody(p.oid) as definition, p.provolatile as volatility, p.proisstrict as strict,
    p.prosecdef as security_definer, p.proleakproof as leakproof, p.proparallel as parallel,
    p.procost as cost, p.prorows as rows, nullif(p.prosupport, 0)::regproc::text as support,
    array_to_string(p.proconfig, ', ') as settings,
    a.aggtransfn::text as transition, a.aggfinalfn::text as final, a.aggcombinefn::text as combine,
    a.aggserialfn::text as serialize, a.aggdeserialfn::text as deserialize, a.aggmtransfn::text as moving_transition,
    a.aggminvtransfn::text as moving_inverse, a.aggmfinalfn::text as moving_final, a.aggkind as aggregate_kind,
    a.aggtranstype::regtype::text as state_type, a.aggmtranstype::regtype::text as moving_state_type,
    a.agginitval as initial, a.aggminitval as moving_initial, a.aggfinalmodify as final_modifies,
    nullif(a.aggsortop, 0)::regoperator::text as sort_operator, a.aggnumdirectargs as direct_arguments
from pg_proc p join pg_language l on l.oid = p.prolang left join pg_aggregate a on a.aggfnoid = p.oid
where p.oid >= 16384 and p.pronamespace::regnamespace::text !~ '^pg_temp'
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
