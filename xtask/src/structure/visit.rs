//! What a file's syntax says: definitions, imports, mentions, methods and functions.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use std::collections::BTreeMap;
use syn::{
    Attribute, Block, Expr, File, ImplItemFn, Item, ItemFn, ItemImpl, ItemMacro, ItemMod, ItemUse, Macro, Signature,
    TraitItemFn, Type, UseTree,
    visit::{self, Visit},
};

/// Where a function is, in lines counted from one.
#[derive(Clone, Debug)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: String,
    /// The line of its signature's beginning.
    pub(super) first: usize,
    /// The line of its last brace.
    pub(super) last: usize,
}

/// A path in the source and its line.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    /// Its words.
    pub(super) path: Vec<String>,
    /// Its line.
    pub(super) line: usize,
}

/// A method of a type.
#[derive(Clone, Debug)]
pub(super) struct Method {
    /// The type, as the `impl` block names it.
    pub(super) of: Vec<String>,
    /// The method.
    pub(super) name: String,
}

/// A module: a file's, or one in braces.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// What it defines, but modules.
    pub(super) items: Vec<String>,
    /// What it imports: the name here, and the path.
    pub(super) imports: Vec<(String, Mention)>,
    /// The paths that it imports all of.
    pub(super) globs: Vec<Vec<String>>,
    /// The paths that it mentions.
    pub(super) mentions: Vec<Mention>,
    /// The methods that it adds to types.
    pub(super) adds: Vec<Method>,
    /// The methods that it calls by `self` or `Self`, and where.
    pub(super) calls: Vec<(Method, usize)>,
    /// The modules in braces.
    pub(super) inner: BTreeMap<String, Scope>,
    /// The modules in files of their own, with the path if that is stated.
    pub(super) outer: Vec<(String, Option<String>)>,
    /// The macros that it defines.
    pub(super) macros: Vec<String>,
    /// The macros that it calls.
    pub(super) expands: Vec<Mention>,
}

/// Looks at a file.
pub(super) fn file(syntax: &File) -> (Scope, Vec<Function>) {
    let mut functions = Functions::default();
    functions.visit_file(syntax);
    let mut names = Names { scopes: vec![Scope::default()], implemented: Vec::new() };
    if !syntax.attrs.iter().any(is_for_tests) {
        names.visit_file(syntax);
    }
    (names.scopes.pop().unwrap_or_default(), functions.found)
}

/// Collects all functions.
#[derive(Default)]
struct Functions {
    found: Vec<Function>,
}

impl Functions {
    fn add(&mut self, signature: &Signature, block: &Block) {
        let (first, last) = (signature.fn_token.span.start().line, block.brace_token.span.close().end().line);
        self.found.push(Function { name: signature.ident.to_string(), first, last });
    }
}

impl<'a> Visit<'a> for Functions {
    fn visit_item_fn(&mut self, item: &'a ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// Collects names, module by module.
struct Names {
    /// The innermost module comes last; there is always one.
    scopes: Vec<Scope>,
    /// The type that this `impl` block is for, and whether the block is that of a trait.
    implemented: Vec<(Vec<String>, bool)>,
}

impl Names {
    fn with(&mut self, add: impl FnOnce(&mut Scope)) {
        if let Some(scope) = self.scopes.last_mut() {
            add(scope);
        }
    }

    fn mention(&mut self, path: Vec<String>, line: usize) {
        if let ([first, name], Some((of, _))) = (path.as_slice(), self.implemented.last())
            && first == "Self"
        {
            let called = Method { of: of.clone(), name: name.clone() };
            self.with(|scope| scope.calls.push((called, line)));
        }
        self.with(|scope| scope.mentions.push(Mention { path, line }));
    }

    /// Finds paths and calls by `self` among the tokens of a macro, which have no syntax.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut words: Vec<String> = Vec::new();
        let (mut colons, mut dot, mut line) = (0, false, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_of_path(&mut words, line);
                    }
                    line = ident.span().start().line;
                    if dot && words.is_empty() {
                        self.call_in_macro(ident.to_string(), line);
                    } else {
                        words.push(ident.to_string());
                    }
                    (colons, dot) = (0, false);
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    if colons == 1 && punct.spacing() == Spacing::Alone {
                        self.end_of_path(&mut words, line);
                    }
                }
                other => {
                    dot = matches!(&other, TokenTree::Punct(punct) if punct.as_char() == '.')
                        && words.as_slice() == ["self"];
                    self.end_of_path(&mut words, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.end_of_path(&mut words, line);
    }

    fn end_of_path(&mut self, words: &mut Vec<String>, line: usize) {
        let path = std::mem::take(words);
        // A single word may be anything: a variable, a field, a keyword.
        if path.len() > 1 {
            self.mention(path, line);
        }
    }

    fn call_in_macro(&mut self, name: String, line: usize) {
        if let Some((of, _)) = self.implemented.last() {
            let called = Method { of: of.clone(), name };
            self.with(|scope| scope.calls.push((called, line)));
        }
    }
}

impl<'a> Visit<'a> for Names {
    fn visit_item(&mut self, item: &'a Item) {
        if attributes(item).iter().any(is_for_tests) {
            return;
        }
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::TraitAlias(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        if let Some(name) = name {
            self.with(|scope| scope.items.push(name.to_string()));
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        let name = item.ident.to_string();
        if item.content.is_none() {
            let path = item.attrs.iter().find_map(stated_path);
            self.with(|scope| scope.outer.push((name, path)));
            return;
        }
        self.scopes.push(Scope::default());
        visit::visit_item_mod(self, item);
        if let Some(inner) = self.scopes.pop() {
            self.with(|scope| {
                scope.inner.insert(name, inner);
            });
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        let line = item.use_token.span.start().line;
        self.with(|scope| flatten(&item.tree, &mut Vec::new(), line, scope));
    }

    fn visit_item_macro(&mut self, item: &'a ItemMacro) {
        match &item.ident {
            Some(ident) => self.with(|scope| scope.macros.push(ident.to_string())),
            None => self.with(|scope| scope.items.extend(declared(&item.mac))),
        }
        visit::visit_item_macro(self, item);
    }

    fn visit_item_impl(&mut self, item: &'a ItemImpl) {
        let Type::Path(path) = &*item.self_ty else { return visit::visit_item_impl(self, item) };
        self.implemented.push((words(&path.path), item.trait_.is_some()));
        visit::visit_item_impl(self, item);
        self.implemented.pop();
    }

    fn visit_impl_item_fn(&mut self, item: &'a ImplItemFn) {
        if item.attrs.iter().any(is_for_tests) {
            return;
        }
        if let Some((of, false)) = self.implemented.last() {
            let added = Method { of: of.clone(), name: item.sig.ident.to_string() };
            self.with(|scope| scope.adds.push(added));
        }
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        if let (Expr::Path(receiver), Some((of, _))) = (&*call.receiver, self.implemented.last())
            && receiver.path.is_ident("self")
        {
            let (called, line) =
                (Method { of: of.clone(), name: call.method.to_string() }, call.method.span().start().line);
            self.with(|scope| scope.calls.push((called, line)));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.mention(words(path), line_of(path));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a Macro) {
        let call = Mention { path: words(&called.path), line: line_of(&called.path) };
        self.with(|scope| scope.expands.push(call));
        self.tokens(called.tokens.clone());
    }
}

/// What a macro of items defines, as far as its tokens say: `struct NAME`, `enum NAME` and the like.
fn declared(called: &Macro) -> Vec<String> {
    fn collect(tokens: TokenStream, found: &mut Vec<String>) {
        let mut keyword = false;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    let ident = ident.to_string();
                    if keyword {
                        found.push(ident);
                        keyword = false;
                    } else {
                        keyword = ["struct", "enum", "union", "trait", "fn", "const", "static", "type"]
                            .contains(&ident.as_str());
                    }
                }
                TokenTree::Group(group) => collect(group.stream(), found),
                _ => keyword = false,
            }
        }
    }
    let mut found = Vec::new();
    collect(called.tokens.clone(), &mut found);
    found
}

fn line_of(path: &syn::Path) -> usize {
    path.segments.first().map_or(0, |first| first.ident.span().start().line)
}

fn words(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn flatten(tree: &UseTree, prefix: &mut Vec<String>, line: usize, scope: &mut Scope) {
    let import = |prefix: &[String], last: Option<String>, name: String| {
        (name, Mention { path: prefix.iter().cloned().chain(last).collect(), line })
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, line, scope);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            let last = prefix.last().cloned().unwrap_or_default();
            scope.imports.push(import(prefix, None, last));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            scope.imports.push(import(prefix, Some(name.clone()), name));
        }
        UseTree::Rename(rename) => {
            let last = (rename.ident != "self").then(|| rename.ident.to_string());
            scope.imports.push(import(prefix, last, rename.rename.to_string()));
        }
        UseTree::Glob(_) => scope.globs.push(prefix.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, line, scope)),
    }
}

fn stated_path(attribute: &Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let Expr::Lit(literal) = &pair.value else { return None };
    match &literal.lit {
        syn::Lit::Str(text) if pair.path.is_ident("path") => Some(text.value()),
        _ => None,
    }
}

/// `#[cfg(test)]` and `#[cfg(all(test, ...))]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    if !attribute.path().is_ident("cfg") {
        return false;
    }
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let mut tokens = list.tokens.clone().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Ident(word)), None) => word == "test",
        (Some(TokenTree::Ident(word)), Some(TokenTree::Group(group))) if word == "all" => {
            let mut alternatives = group.stream().into_iter();
            alternatives.any(|token| matches!(&token, TokenTree::Ident(word) if word == "test"))
        }
        _ => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
