//! Compiles `proto/` with protox, so that no protoc has to be installed, and
//! makes the one table of methods from what the proto files say of them.
use std::error::Error;
use std::fmt::Write;

use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, MethodDescriptor, ReflectMessage, Value,
};

/// The services whose methods say who may call them.
const SERVICES: [&str; 3] = ["Exchange", "Custodian", "Desk"];
/// What a method of the desk takes whose officer signs.
const SIGNED: &str = "SignedCall";
/// The message that holds values of evidence.
const ELEMENT: &str = "ElementSpec";

#[allow(
    clippy::disallowed_methods,
    reason = "cargo tells the output directory in a variable"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "casegate/v1/call.proto",
        "casegate/v1/record.proto",
        "casegate/v1/roster.proto",
        "casegate/v1/exchange.proto",
        "casegate/v1/custodian.proto",
        "casegate/v1/desk.proto",
        "casegate/v1/audit.proto",
        "casegate/v1/local.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files)?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = compiler.encode_file_descriptor_set();
    std::fs::write(out.join("casegate.fds"), descriptors)?;
    std::fs::write(out.join("calls.rs"), calls(&compiler.descriptor_pool())?)?;
    let set = compiler.file_descriptor_set();
    tonic_prost_build::configure().bytes(".").compile_fds(set)?;
    Ok(())
}

/// Macros that hand the rows of the table to another macro, each row once.
fn calls(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let option = pool.get_extension_by_name("casegate.v1.call");
    let option = option.ok_or("call.proto has no option `call`")?;
    let (mut methods, mut signed, mut unary) = (String::new(), String::new(), String::new());
    let services = pool.services();
    let services = services.filter(|service| SERVICES.contains(&service.name()));
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let facts = Facts::of(&method, &option)?;
        let (name, path) = (method.name(), &facts.path);
        writeln!(methods, "{name}: \"{path}\", {};", facts.callers()?)?;
        let Some(request) = facts.request(pool)? else {
            continue;
        };
        let (scope, limit) = (facts.word("scope")?, facts.word("limit")?);
        let elements = elements(pool, &request)?;
        writeln!(
            signed,
            "{request} => {name}, {scope}, {limit}, [{elements}];"
        )?;
        if !method.is_client_streaming() && !method.is_server_streaming() {
            let (function, answer) = (snake(name), method.output().name().to_owned());
            writeln!(unary, "#[doc = \"`{path}`, signed by the officer.\"]")?;
            writeln!(unary, "{function}({request}) -> {answer};")?;
        }
    }
    let each = |name: &str, what: &str, rows: &str| {
        format!(
            "/// {what}\nmacro_rules! {name} {{ ($then:ident $($more:tt)*) => {{ \
             $then! {{ $($more)*\n{rows} }} }}; }}\npub(crate) use {name};\n"
        )
    };
    Ok([
        each("each_method", "`NAME: PATH, CALLERS;`", &methods),
        each(
            "each_signed",
            "`REQUEST => NAME, SCOPE, LIMIT, [FIELD MANY];`",
            &signed,
        ),
        each("each_desk_call", "`FUNCTION(REQUEST) -> ANSWER;`", &unary),
    ]
    .concat())
}

/// What one method says of itself.
struct Facts {
    name: String,
    path: String,
    input: String,
    call: DynamicMessage,
}

impl Facts {
    fn of(method: &MethodDescriptor, option: &ExtensionDescriptor) -> Result<Self, Box<dyn Error>> {
        let path = format!("{}.{}", method.parent_service().name(), method.name());
        let options = method.options();
        if !options.has_extension(option) {
            return Err(format!("{path} does not say who may call it").into());
        }
        let call = options.get_extension(option);
        Ok(Self {
            name: method.name().to_owned(),
            path,
            input: method.input().name().to_owned(),
            call: call.as_message().ok_or("no Call")?.clone(),
        })
    }

    fn field(&self, name: &str) -> Result<Value, Box<dyn Error>> {
        let value = self.call.get_field_by_name(name);
        Ok(value.ok_or("a Call without this field")?.into_owned())
    }

    /// The name of an enum's value, as Rust spells it.
    fn word(&self, name: &str) -> Result<String, Box<dyn Error>> {
        let field = self.call.descriptor().get_field_by_name(name);
        let kind = field.as_ref().map(|field| field.kind());
        let kind = kind
            .as_ref()
            .and_then(|kind| kind.as_enum())
            .ok_or("no enum")?;
        let number = self.field(name)?.as_enum_number().unwrap_or_default();
        match kind.get_value(number).filter(|_| number != 0) {
            Some(value) => Ok(variant(kind.name(), value.name())),
            None => Err(format!("{} does not say its {name}", self.path).into()),
        }
    }

    /// Who may call it, in the policy's terms.
    fn callers(&self) -> Result<String, Box<dyn Error>> {
        let roles = self.field("nodes")?;
        let roles = roles.as_list().unwrap_or_default();
        let officers = self.field("officers")?.as_bool() == Some(true);
        let right = self.field("right")?;
        let right = right.as_str().unwrap_or_default();
        match (officers, roles) {
            (true, []) if right.is_empty() => Ok("Callers::OwnOfficers(None)".into()),
            (true, []) => {
                let right: String = right.split('-').map(capital).collect();
                Ok(format!("Callers::OwnOfficers(Some(Right::{right}))"))
            }
            (false, [_, ..]) if right.is_empty() => {
                let field = self.call.descriptor().get_field_by_name("nodes");
                let kind = field.as_ref().map(|field| field.kind());
                let kind = kind
                    .as_ref()
                    .and_then(|kind| kind.as_enum())
                    .ok_or("no enum")?;
                let mut out = String::new();
                for role in roles {
                    let value = kind.get_value(role.as_enum_number().unwrap_or_default());
                    let value = value.ok_or("no such role")?;
                    write!(out, "MemberRole::{}, ", variant(kind.name(), value.name()))?;
                }
                Ok(format!("Callers::Nodes(&[{out}])"))
            }
            _ => Err(format!("{} does not say who may call it", self.path).into()),
        }
    }

    /// The request that its officer signs, if one does.
    fn request(&self, pool: &DescriptorPool) -> Result<Option<String>, Box<dyn Error>> {
        let said = self
            .field("request")?
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let request = match (said.is_empty(), self.input == SIGNED) {
            (true, false) => return Ok(None),
            (true, true) => format!("{}Request", self.name),
            (false, _) => said,
        };
        match pool.get_message_by_name(&format!("casegate.v1.{request}")) {
            Some(_) => Ok(Some(request)),
            None => Err(format!("{}: there is no {request}", self.path).into()),
        }
    }
}

/// The field of a request that holds elements, and whether it is repeated.
fn elements(pool: &DescriptorPool, request: &str) -> Result<String, Box<dyn Error>> {
    let message = pool.get_message_by_name(&format!("casegate.v1.{request}"));
    let message = message.ok_or("no such message")?;
    let mut found = message.fields().filter(|field| {
        let kind = field.kind();
        kind.as_message()
            .is_some_and(|message| message.name() == ELEMENT)
    });
    let first = found.next();
    if found.next().is_some() {
        return Err(format!("{request} has two fields with elements").into());
    }
    Ok(first.map_or_else(String::new, |field| {
        format!(
            "{} {}",
            field.name(),
            if field.is_list() { "many" } else { "one" }
        )
    }))
}

/// `ACCESS_SCOPE_LOCAL` of `AccessScope` as `Local`.
fn variant(kind: &str, value: &str) -> String {
    let prefix = format!("{}_", snake(kind).to_uppercase());
    let rest = value.strip_prefix(&prefix).unwrap_or(value);
    rest.split('_')
        .map(|word| capital(&word.to_lowercase()))
        .collect()
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
